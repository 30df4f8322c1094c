//! A socket that is connected through a Service.

use crate::tables::{BackendId, FrontendKey, ServiceId};

/// Value of `CONNECTIONS`, keyed by socket cookie: what close must give back, and what `getpeername` shows. 56 bytes.
///
/// An entry stands for exactly one slot on its account and one on its backend. Whoever deletes the entry gives both
/// back; a delete succeeds once, so a slot is given back once.
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
    /// Bits: [`CONFIRMED`], [`WATCHED`], [`ESTABLISHED`], [`FAILED`].
    pub flags: u64,
}

/// The kernel went on to send a SYN: the connect did not fail on this host (no route, no port). TCP only.
pub const CONFIRMED: u64 = 1;

/// Its backend is judged by what becomes of it. TCP only.
pub const WATCHED: u64 = 2;

/// It is watched, and its handshake is done.
pub const ESTABLISHED: u64 = 4;

/// It is watched, and its connect has counted as failed.
pub const FAILED: u64 = 8;

const _: () = assert!(size_of::<Connection>() == 56 && align_of::<Connection>() == 8);
