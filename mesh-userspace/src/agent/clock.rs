//! The programs' clock (monotonic, nanoseconds) and people's.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Now, on the clock of `bpf_ktime_get_ns`.
pub fn monotonic() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// The last tick, on the clock of `bpf_ktime_get_coarse_ns`, which stamps connections: what is stamped later is no less.
pub fn coarse() -> u64 {
    read(ClockId::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: ClockId) -> u64 {
    // These clocks are always there, and not negative.
    clock_gettime(clock).map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}

/// A moment of the programs' clock, for people.
pub fn timestamp(at: u64) -> Timestamp {
    let ago = std::time::Duration::from_nanos(monotonic().saturating_sub(at));
    let now = Timestamp::now();
    now.checked_sub(ago).unwrap_or(now)
}
