//! What is counted for one client of one Service.

use crate::atomic::Atomic64;

/// Value of `CLIENTS`: half a cache line (32 bytes). [`crate::clients`] says who claims it and who forgets it.
#[repr(C)]
#[derive(Debug)]
pub struct ClientState {
    /// [`crate::clients::key`], perhaps pending; 0 for an empty place. Written by: programs.
    pub key: Atomic64,
    /// Connections open now. Written by: programs; agent's audit.
    pub active: Atomic64,
    /// The time until which its rate is spent, nanoseconds of the monotonic clock. Written by: programs.
    pub spent_until: Atomic64,
    /// Zero.
    pub _reserved: Atomic64,
}

const _: () = assert!(size_of::<ClientState>() == 32);

impl ClientState {
    /// An empty place.
    pub const fn new() -> Self {
        Self {
            key: Atomic64::new(0),
            active: Atomic64::new(0),
            spent_until: Atomic64::new(0),
            _reserved: Atomic64::new(0),
        }
    }
}

impl Default for ClientState {
    fn default() -> Self {
        Self::new()
    }
}
