//! A place that one flow of a client holds.

use crate::atomic::Atomic64;

/// Value of `FLOW_PLACES`: half a cache line (32 bytes). [`crate::flows`] says who claims it, and when it is free again.
#[repr(C)]
#[derive(Debug)]
pub struct FlowPlace {
    /// When it is idle, nanoseconds of the monotonic clock; or who is claiming it; 0 for an empty place. Written by:
    /// programs.
    pub state: Atomic64,
    /// [`crate::clients::key`] of whose flow it is. Written by: programs, while they claim it.
    pub owner: Atomic64,
    /// The socket's cookie. Written by: programs, while they claim it.
    pub cookie: Atomic64,
    /// The [`super::ServiceId`] of the port that the socket speaks to. Written by: programs, while they claim it.
    pub service: Atomic64,
}

const _: () = assert!(size_of::<FlowPlace>() == 32);

impl FlowPlace {
    /// An empty place.
    pub const fn new() -> Self {
        Self { state: Atomic64::new(0), owner: Atomic64::new(0), cookie: Atomic64::new(0), service: Atomic64::new(0) }
    }
}

impl Default for FlowPlace {
    fn default() -> Self {
        Self::new()
    }
}
