//! What the agent may change for all programs at once, live.

use crate::atomic::Atomic64;

/// The one value of `SETTINGS`. 64 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Settings {
    /// A choice becomes an event when none of these bits is among its 32 random ones: 0 for each choice, 2^n - 1 for one
    /// in 2^n. [`Settings::NO_CHOICES`] for none; refusals always become events.
    pub unsampled: Atomic64,
    /// Nanoseconds that one event costs of each processor's budget; a budget holds one second. 0 for no events at all.
    pub event_cost: Atomic64,
    /// Events not written because the budget was spent or the ring full. Written by: programs.
    pub events_lost: Atomic64,
    /// The network namespace of the node (`SO_NETNS_COOKIE`): its clients reach `NodePort`s at loopback addresses, too.
    pub node_netns: Atomic64,
    /// The levels of the cgroup hierarchy at which a pod of `LEFT_ALONE` may be, one bit each, the lowest the root's; 0 while
    /// no pod is left alone: then nobody looks.
    pub left_alone: Atomic64,
    /// The same of the pods of `SOURCES`.
    pub sources: Atomic64,
    /// Zero.
    pub _reserved: [u64; 2],
}

impl Settings {
    /// In `unsampled`: no choice becomes an event.
    pub const NO_CHOICES: u64 = 1 << 32;

    /// Levels that `left_alone` and `sources` have bits for.
    pub const LEVELS: u32 = 16;
}

const _: () = assert!(size_of::<Settings>() == 64);
