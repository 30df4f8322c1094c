//! A sampled choice or refusal.

use super::ServiceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One line of `GET /v1/events`: which client went where, and why; or whose connection the agent ended, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The stable name of the reason.
    pub reason: String,
    /// Whether the client was refused.
    pub refused: bool,
    /// The Service; absent when it is no longer known.
    pub service: Option<ServiceName>,
    /// What the client dialled.
    pub frontend: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Where it was sent; absent for a refusal.
    pub backend: Option<SocketAddr>,
    /// The client's process; 0 where the agent ended a connection.
    pub pid: u32,
    /// The client's task name; empty where the agent ended a connection.
    pub command: String,
    /// The client's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The client's cgroup, by the kernel's id; 0 where the agent ended a connection.
    pub cgroup: u64,
    /// The socket's cookie.
    pub cookie: u64,
}
