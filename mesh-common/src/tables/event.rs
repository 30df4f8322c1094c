//! One sampled choice or refusal: which client went where, and why.

use crate::address::{Address, Port};
use crate::tables::{FrontendKey, ServiceId};

/// Bytes of a task's name (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// A record of the `EVENTS` ring. 96 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Nanoseconds of the monotonic clock.
    pub at: u64,
    /// Socket cookie.
    pub cookie: u64,
    /// The client's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The cgroup of the client's task.
    pub cgroup: u64,
    /// What the client dialled.
    pub frontend: FrontendKey,
    /// The entry of the port that was dialled, or the account where no such port is.
    pub service: ServiceId,
    /// Where it was sent; zero for a refusal.
    pub backend: Address,
    /// Where it was sent; zero for a refusal.
    pub backend_port: Port,
    /// [`crate::reason::Reason`] as a number.
    pub reason: u8,
    /// Zero.
    pub _pad: u8,
    /// The client's process (thread group).
    pub pid: u32,
    /// The client's task name, zero-terminated.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<Event>() == 96);
