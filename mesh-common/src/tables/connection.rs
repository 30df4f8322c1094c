//! A socket that is connected through a Service.

use crate::tables::{BackendId, FrontendKey, ServiceId};

/// Value of `CONNECTIONS`, keyed by socket cookie: what close must give back, and what `getpeername` shows. 56 bytes.
///
/// An entry stands for exactly one slot on its account, one on its backend, and where clients are limited one on its client.
/// Whoever deletes the entry gives them back; a delete succeeds once, so a slot is given back once.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// What the client dialled.
    pub frontend: FrontendKey,
    /// The account that holds the Service's slot.
    pub account: ServiceId,
    /// The entry of the port that was dialled.
    pub service: ServiceId,
    /// The backend that holds the other slot.
    pub backend: BackendId,
    /// The client's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// When connect() was called, nanoseconds of the monotonic clock, some milliseconds coarse.
    pub opened_at: u64,
    /// Bits: [`CONFIRMED`], [`WATCHED`], [`ESTABLISHED`], [`FAILED`], and 8 to 31 [`Connection::asked`]. All else is written once,
    /// with the entry; this changes in place. A callback of a socket that another processor closes at that moment may change the
    /// entry that has taken the element over: so what must be given back is not in this word.
    pub flags: u32,
    /// The place in `CLIENTS` that holds a third slot, plus 1; 0 for none.
    pub client: u32,
}

impl Connection {
    /// The place in `CLIENTS` that holds a slot.
    pub const fn client_place(&self) -> Option<u32> {
        self.client.checked_sub(1)
    }

    /// [`Connection::flags`] with the time `now` (nanoseconds) as that from which the first answer is waited for.
    #[inline(always)]
    pub const fn asked(flags: u32, now: u64) -> u32 {
        flags & !ASKED | ((now >> ASKED_CLOCK) as u32) << ASKED_SHIFT
    }

    /// How long the first answer has been waited for at `now`, nanoseconds, to 131,072 of them; modulo 36 minutes.
    #[inline(always)]
    pub const fn waited(flags: u32, now: u64) -> u64 {
        let asked = flags >> ASKED_SHIFT;
        let waited = ((now >> ASKED_CLOCK) as u32).wrapping_sub(asked) & ASKED >> ASKED_SHIFT;
        (waited as u64) << ASKED_CLOCK
    }
}

/// The kernel went on to send a SYN: the connect did not fail on this host (no route, no port). TCP only.
pub const CONFIRMED: u32 = 1;

/// Its backend is judged by what becomes of it, since its port's rule said so when it was opened. Means nothing for UDP.
pub const WATCHED: u32 = 2;

/// It is watched, and its handshake is done.
pub const ESTABLISHED: u32 = 4;

/// It is watched, and has counted as failed: its connect, or since its handshake.
pub const FAILED: u32 = 8;

/// The bits of [`Connection::asked`], and where they begin.
const ASKED: u32 = 0xff_ffff << ASKED_SHIFT;
const ASKED_SHIFT: u32 = 8;

/// The clock of [`Connection::asked`]: 2^17 ns, 131 us.
const ASKED_CLOCK: u32 = 17;

const _: () = assert!(size_of::<Connection>() == 56 && align_of::<Connection>() == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_waited_is_known_and_nothing_else_is_touched(now in 0u64..1 << 60, waits in 0u64..1 << 40) {
            let flags = CONFIRMED | WATCHED;
            let asked = Connection::asked(Connection::asked(flags, 77), now);
            prop_assert_eq!(asked & !ASKED, flags);
            let clock = 1 << ASKED_CLOCK;
            prop_assert!(Connection::waited(asked, now + waits).abs_diff(waits) < clock);
        }
    }
}
