//! What a test says to the client process in a pod, and what that answers: one JSON value a line.

use crate::echo::Transport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The number of a socket that the client process holds.
pub type SocketId = u64;

/// One thing to do. The address family of a socket is that of its first address; `[::ffff:10.96.0.10]:80` makes an
/// IPv6 socket that speaks IPv4.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make a socket and connect it; answered with [`Reply::Socket`].
    Connect { transport: Transport, to: SocketAddr },
    /// Make a UDP socket that is not connected; answered with [`Reply::Socket`].
    Udp { ipv6: bool },
    /// Connect a UDP socket that is there.
    Reconnect { socket: SocketId, to: SocketAddr },
    /// Close it; with `reset`, a TCP connection ends with RST and leaves no `TIME_WAIT`.
    Close { socket: SocketId, reset: bool },
    /// getpeername: [`Reply::Address`].
    Peer { socket: SocketId },
    /// getsockname: [`Reply::Address`].
    Local { socket: SocketId },
    /// Send, to an address when the socket is not connected (or to another one although it is).
    Send { socket: SocketId, text: String, to: Option<SocketAddr> },
    /// Receive with recvfrom: [`Reply::Received`].
    Receive { socket: SocketId },
    /// Connect, ask who it is and reset, again and again: [`Reply::Tally`].
    Tally { transport: Transport, to: SocketAddr, times: u32 },
    /// Look a name up, as every program does: [`Reply::Addresses`].
    Resolve { name: String },
    /// Ask an HTTP server for a page: [`Reply::Status`].
    Get { from: SocketAddr, path: String },
}

/// The answer to a request that worked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The socket that was made.
    Socket(SocketId),
    /// An address.
    Address(SocketAddr),
    /// What came, and from whom as the client sees it (`None` for TCP).
    Received { text: String, from: Option<SocketAddr> },
    /// Who answered how often.
    Tally(Tally),
    /// What a name stands for.
    Addresses(Vec<IpAddr>),
    /// The status of an HTTP answer.
    Status(u16),
}

/// The answer to a request that did not work.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The system call's errno; `None` for a mistake of the test.
    pub errno: Option<i32>,
    /// In words.
    pub message: String,
}

/// Who answered how often, and which errors came instead.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// Answers by server.
    pub answers: BTreeMap<String, u32>,
    /// Failures by errno.
    pub errors: BTreeMap<i32, u32>,
}

impl Tally {
    /// All answers.
    pub fn answered(&self) -> u32 {
        self.answers.values().sum()
    }

    /// All failures.
    pub fn failed(&self) -> u32 {
        self.errors.values().sum()
    }

    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        for (server, times) in &other.answers {
            *self.answers.entry(server.clone()).or_default() += times;
        }
        for (errno, times) in &other.errors {
            *self.errors.entry(*errno).or_default() += times;
        }
    }
}
