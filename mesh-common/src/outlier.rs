//! Ejecting a backend that fails, for a time: Envoy's outlier detection, decided by whoever sees a connection fail, undone by
//! whoever picks after the time is over. No clock ticks, and no agent runs.
//!
//! All that is known of a backend is one word, [`Standing`], that changes by compare-and-swap. An ejection first takes one of
//! [`Outlier::allowed`], as a connection takes a slot, then marks the word; a return first unmarks the word, then gives back.
//! So the count is never less than the backends that are marked, and never more than is allowed, whoever races.

use crate::admission;
use crate::atomic::Atomic64;
use crate::tables::{Outlier, Thresholds};

/// How often a lost race is tried again before an outcome is forgotten: the word was then changed by as many others.
const TRIES: u32 = 8;

/// A connection that is reset within this many nanoseconds of its connect(), with nothing received, failed (1 s).
pub const SOON: u64 = 1_000_000_000;

/// What became of a connection, as far as its backend is to be judged by it.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was refused, found no way, or its SYN stayed unanswered.
    ConnectFailed = 0,
    /// The handshake is done.
    Connected = 1,
    /// It was reset [`SOON`], and nothing was received.
    Reset = 2,
    /// It ended otherwise, after its handshake.
    Ended = 3,
    /// What was sent over it was not acknowledged, twice in a row.
    Silent = 4,
    /// It answered, and its backend's answers are slow: see [`crate::answer`].
    Slow = 5,
}

impl Outcome {
    /// From the number that `self as u32` gives; any other reads as an end.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::ConnectFailed,
            1 => Self::Connected,
            2 => Self::Reset,
            4 => Self::Silent,
            5 => Self::Slow,
            _ => Self::Ended,
        }
    }
}

/// What an outcome led to.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It was counted, or did not matter.
    Counted = 0,
    /// The backend is ejected from now on.
    Ejected = 1,
    /// It would be ejected, but as many as are allowed are.
    Crowded = 2,
}

/// What is known of a backend. Packed: bits 0 to 7 connects, 8 to 15 resets, 16 to 23 ejections, 24 to 62 until, 63 out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Standing {
    /// Connects that failed in a row; while it is out, as many as ejected it.
    pub connects: u8,
    /// Connections that were reset soon or went silent, in a row; likewise.
    pub resets: u8,
    /// Ejections that are not forgotten: the next lasts so many times longer, and once.
    pub ejections: u8,
    /// When the last ejection ends or ended, milliseconds of the monotonic clock, below 2^39 (17 years).
    pub until: u64,
    /// It was ejected, and [`Outlier::ejected`] counts it: until somebody meets it after that time.
    pub out: bool,
}

/// The bit of [`Standing::out`].
const OUT: u64 = 1 << 63;

/// The bits of [`Standing::connects`] and [`Standing::resets`].
const FAILURES: u64 = 0xffff;

/// The bits of [`Standing::until`] once they are shifted down.
const UNTIL: u64 = (1 << 39) - 1;

impl Standing {
    /// The word for [`crate::tables::Backend::standing`].
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        let out = if self.out { OUT } else { 0 };
        out | (self.until & UNTIL) << 24
            | (self.ejections as u64) << 16
            | (self.resets as u64) << 8
            | self.connects as u64
    }

    /// From the word in [`crate::tables::Backend::standing`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self {
            connects: word as u8,
            resets: (word >> 8) as u8,
            ejections: (word >> 16) as u8,
            until: word >> 24 & UNTIL,
            out: word & OUT != 0,
        }
    }

    /// How much longer it is ejected at `now`, milliseconds; 0 when it is not.
    pub const fn left(self, now: u64) -> u64 {
        if self.out { self.until.saturating_sub(now) } else { 0 }
    }
}

/// What an outcome makes of a standing.
enum Next {
    Same,
    Counted(u64),
    Ejected(u64),
}

/// Whether a backend is ejected at `now` (milliseconds). If its time is over it returns, with this call.
#[inline(always)]
pub fn is_out(standing: &Atomic64, outlier: &Outlier, now: u64) -> bool {
    let word = standing.load();
    if word & OUT == 0 {
        return false;
    }
    if now >= word >> 24 & UNTIL {
        bring_back(standing, word, outlier);
        return false;
    }
    outlier.ejected.load() <= outlier.ignored_above.load()
}

/// Ends an ejection whose standing is `word`, unless somebody else does.
#[inline(always)]
fn bring_back(standing: &Atomic64, word: u64, outlier: &Outlier) {
    if standing.compare_exchange(word, word & !(OUT | FAILURES)).is_ok() {
        admission::give_back(&outlier.ejected);
    }
}

/// Ends an ejection before its time: the backend answers again, or it is taken away. Whether there was one.
pub fn pardon(standing: &Atomic64, outlier: &Outlier) -> bool {
    loop {
        let word = standing.load();
        if word & OUT == 0 {
            return false;
        }
        if standing.compare_exchange(word, word & !(OUT | FAILURES)).is_ok() {
            admission::give_back(&outlier.ejected);
            return true;
        }
    }
}

/// Judges a backend by what became of a connection to it at `now` (milliseconds).
#[inline(always)]
pub fn record(standing: &Atomic64, outlier: &Outlier, outcome: Outcome, now: u64) -> Recorded {
    for _ in 0..TRIES {
        let word = standing.load();
        if word & OUT != 0 {
            if now < word >> 24 & UNTIL {
                // What was under way when it was ejected says nothing new.
                return Recorded::Counted;
            }
            bring_back(standing, word, outlier);
            continue;
        }
        match after(word, outlier, outcome, now) {
            Next::Same => return Recorded::Counted,
            Next::Counted(next) => {
                if standing.compare_exchange(word, next).is_ok() {
                    return Recorded::Counted;
                }
            }
            Next::Ejected(next) => {
                if !admission::take_once(&outlier.ejected, outlier.allowed.load()) {
                    return Recorded::Crowded;
                }
                if standing.compare_exchange(word, next).is_ok() {
                    outlier.ejections.fetch_add(1);
                    return Recorded::Ejected;
                }
                admission::give_back(&outlier.ejected);
            }
        }
    }
    Recorded::Counted
}

/// What an outcome makes of the standing of a backend that is not out.
#[inline(always)]
fn after(word: u64, outlier: &Outlier, outcome: Outcome, now: u64) -> Next {
    let standing = Standing::unpack(word);
    let thresholds = Thresholds::unpack(outlier.thresholds.load());
    let (connects, resets, reached) = match outcome {
        Outcome::ConnectFailed => {
            let connects = standing.connects.saturating_add(1);
            (connects, standing.resets, thresholds.connects != 0 && connects >= thresholds.connects)
        }
        Outcome::Reset | Outcome::Silent => {
            let resets = standing.resets.saturating_add(1);
            (standing.connects, resets, thresholds.resets != 0 && resets >= thresholds.resets)
        }
        // Many answers have told that already; neither row is of them.
        Outcome::Slow => (0, 0, thresholds.slow.percent != 0),
        Outcome::Connected => (0, standing.resets, false),
        Outcome::Ended => (standing.connects, 0, false),
    };
    if reached {
        return Next::Ejected(ejected(Standing { connects, resets, ..standing }, outlier, now).pack());
    }
    let next = Standing { connects, resets, ..standing }.pack();
    if next == word { Next::Same } else { Next::Counted(next) }
}

/// An ejection that begins now. Envoy's rule: the base time, times the ejections that are not forgotten, up to the most.
#[inline(always)]
fn ejected(standing: Standing, outlier: &Outlier, now: u64) -> Standing {
    let served = now.saturating_sub(standing.until) / outlier.interval.load().max(1);
    let forgotten = if served > u64::from(u8::MAX) { u8::MAX } else { served as u8 };
    let ejections = standing.ejections.saturating_sub(forgotten).saturating_add(1);
    let (base, most) = (outlier.base_ejection.load(), outlier.max_ejection.load());
    let time = (base * u64::from(ejections)).min(most.max(base));
    Standing { ejections, until: now.saturating_add(time) & UNTIL, out: true, ..standing }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
