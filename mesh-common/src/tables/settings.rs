//! What the agent may change for all programs at once, live.

use crate::atomic::Atomic64;

/// The one value of `SETTINGS`. 64 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Settings {
    /// One choice in this many becomes an event; 0 for none. Rounded up to a power of two by the agent: a mask here.
    pub sample_mask: Atomic64,
    /// Whether choices are sampled at all (1) or not (0).
    pub sample_choices: Atomic64,
    /// Nanoseconds that one event costs of each processor's budget; a budget holds one second. 0 for no events at all.
    pub event_cost: Atomic64,
    /// Events not written because the budget was spent or the ring full. Written by: programs.
    pub events_lost: Atomic64,
    /// Zero.
    pub _reserved: [u64; 4],
}

const _: () = assert!(size_of::<Settings>() == 64);
