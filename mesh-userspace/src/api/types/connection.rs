//! A socket that is connected through a Service.

use super::ServiceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One element of `GET /v1/connections`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The socket's cookie, unique on this machine since it started.
    pub cookie: u64,
    /// The Service; absent when it is no longer known.
    pub service: Option<ServiceName>,
    /// What the client dialled.
    pub frontend: SocketAddr,
    /// Where it was sent.
    pub backend: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The client's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// When it was opened.
    pub opened: Timestamp,
    /// Whether the kernel went on to send a SYN; TCP only.
    pub confirmed: bool,
}
