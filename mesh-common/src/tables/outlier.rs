//! When a Service's backend is ejected, and how many are.

use crate::atomic::Atomic64;

/// Value of `OUTLIERS`, by account: one cache line (64 bytes), touched only where [`super::Rule::outlier`] says so. Times
/// are milliseconds of the monotonic clock.
#[repr(C)]
#[derive(Debug)]
pub struct Outlier {
    /// [`Thresholds`], packed; 0 ejects nothing. Written by: agent.
    pub thresholds: Atomic64,
    /// How long the first ejection lasts. Written by: agent.
    pub base_ejection: Atomic64,
    /// How long an ejection lasts at most. Written by: agent.
    pub max_ejection: Atomic64,
    /// How long a backend serves for one earlier ejection to be forgotten. Written by: agent.
    pub interval: Atomic64,
    /// Most backends ejected at once. Written by: agent.
    pub allowed: Atomic64,
    /// While more than this many are ejected, ejection is ignored. Written by: agent.
    pub ignored_above: Atomic64,
    /// Backends ejected now, those whose time is over and whom nobody has met since included. Written by: programs; agent
    /// where it takes an ejected backend away.
    pub ejected: Atomic64,
    /// Ejections since the account was opened. Written by: programs.
    pub ejections: Atomic64,
}

const _: () = assert!(size_of::<Outlier>() == 64);

/// How many failures in a row eject a backend, each kind by itself; 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Thresholds {
    /// Connects that were refused, that found no way, or whose SYN stayed unanswered.
    pub connects: u8,
    /// Connections that were reset soon after the handshake, before anything was received, or that went silent.
    pub resets: u8,
    /// When a backend's answers are slow.
    pub slow: SlowRule,
}

/// When a backend's answers are slow: the lower quartile of its times to the first answer against the median of its Service's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SlowRule {
    /// More than so many per cent of the Service's; 0 for never.
    pub percent: u16,
    /// And longer by more than so many milliseconds.
    pub least: u32,
}

impl Thresholds {
    /// The word for [`Outlier::thresholds`].
    pub const fn pack(self) -> u64 {
        (self.slow.least as u64) << 32
            | (self.slow.percent as u64) << 16
            | (self.resets as u64) << 8
            | self.connects as u64
    }

    /// From the word in [`Outlier::thresholds`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        let slow = SlowRule { percent: (word >> 16) as u16, least: (word >> 32) as u32 };
        Self { connects: word as u8, resets: (word >> 8) as u8, slow }
    }
}

/// What the agent writes into an entry of [`Outlier`], as plain values. Times are milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct OutlierRule {
    /// How many failures in a row eject.
    pub thresholds: Thresholds,
    /// How long the first ejection lasts, below 2^32.
    pub base_ejection: u64,
    /// How long an ejection lasts at most, below 2^32.
    pub max_ejection: u64,
    /// How long a backend serves for one earlier ejection to be forgotten, 1 or more.
    pub interval: u64,
    /// Most backends ejected at once.
    pub allowed: u64,
    /// While more than this many are ejected, ejection is ignored.
    pub ignored_above: u64,
}

impl Outlier {
    /// An entry that ejects nothing.
    pub const fn new() -> Self {
        Self {
            thresholds: Atomic64::new(0),
            base_ejection: Atomic64::new(0),
            max_ejection: Atomic64::new(0),
            interval: Atomic64::new(0),
            allowed: Atomic64::new(0),
            ignored_above: Atomic64::new(0),
            ejected: Atomic64::new(0),
            ejections: Atomic64::new(0),
        }
    }

    /// Writes what a rule says, word by word: a reader may meet words of both for a moment, each of which makes sense.
    pub fn store(&self, rule: &OutlierRule) {
        self.base_ejection.store(rule.base_ejection);
        self.max_ejection.store(rule.max_ejection);
        self.interval.store(rule.interval);
        self.allowed.store(rule.allowed);
        self.ignored_above.store(rule.ignored_above);
        self.thresholds.store(rule.thresholds.pack());
    }

    /// What the words say.
    pub fn load(&self) -> OutlierRule {
        OutlierRule {
            thresholds: Thresholds::unpack(self.thresholds.load()),
            base_ejection: self.base_ejection.load(),
            max_ejection: self.max_ejection.load(),
            interval: self.interval.load(),
            allowed: self.allowed.load(),
            ignored_above: self.ignored_above.load(),
        }
    }

    /// Makes the entry as good as new.
    pub fn clear(&self) {
        self.store(&OutlierRule::default());
        self.ejected.store(0);
        self.ejections.store(0);
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_stored_is_loaded(connects: u8, resets: u8, percent: u16, least: u32, words: [u32; 5]) {
            let [base_ejection, max_ejection, interval, allowed, ignored_above] = words.map(u64::from);
            let thresholds = Thresholds { connects, resets, slow: SlowRule { percent, least } };
            let rule = OutlierRule { thresholds, base_ejection, max_ejection, interval, allowed, ignored_above };
            let entry = Outlier::new();
            entry.store(&rule);
            prop_assert_eq!(entry.load(), rule);
            entry.clear();
            prop_assert_eq!(entry.load(), OutlierRule::default());
        }
    }
}
