//! The sockets that a client process holds for a test.

use super::protocol::{Reply, Request, SocketId};
use super::{Client, unexpected};
use crate::echo::{Answer, OPEN};
use std::io;
use std::net::SocketAddr;

/// A socket in the client process; closed when dropped.
#[derive(Debug)]
struct Held {
    client: Client,
    socket: SocketId,
    closed: bool,
}

impl Held {
    fn done(&self, request: &Request) -> io::Result<()> {
        match self.client.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn address(&self, request: &Request) -> io::Result<SocketAddr> {
        match self.client.ask(request)? {
            Reply::Address(address) => Ok(address),
            other => Err(unexpected(&other)),
        }
    }

    fn send(&self, text: &str, to: Option<SocketAddr>) -> io::Result<()> {
        self.done(&Request::Send { socket: self.socket, text: text.to_owned(), to })
    }

    fn receive(&self) -> io::Result<(Answer, Option<SocketAddr>)> {
        match self.client.ask(&Request::Receive { socket: self.socket })? {
            Reply::Received { text, from } => Ok((text.parse().map_err(io::Error::other)?, from)),
            other => Err(unexpected(&other)),
        }
    }

    fn close(&mut self, reset: bool) -> io::Result<()> {
        self.closed = true;
        self.done(&Request::Close { socket: self.socket, reset })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.closed {
            // A client that was killed has closed it already.
            self.close(false).ok();
        }
    }
}

/// A TCP connection that a client process holds. Dropping it closes it.
#[derive(Debug)]
pub struct Connection(Held);

impl Connection {
    pub(super) fn new(client: Client, socket: SocketId) -> Self {
        Self(Held { client, socket, closed: false })
    }

    /// Says something to the echo server at the other end and returns its answer.
    pub fn ask(&self, text: &str) -> io::Result<Answer> {
        self.0.send(&format!("{text}\n"), None)?;
        Ok(self.0.receive()?.0)
    }

    /// The name of the server at the other end.
    pub fn server(&self) -> io::Result<String> {
        Ok(self.ask("who")?.server)
    }

    /// How many TCP connections the server at the other end has open, this one included.
    pub fn server_open(&self) -> io::Result<u64> {
        self.ask(OPEN)?.text.parse().map_err(io::Error::other)
    }

    /// getpeername.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.0.address(&Request::Peer { socket: self.0.socket })
    }

    /// getsockname.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.address(&Request::Local { socket: self.0.socket })
    }

    /// Closes it and returns when the client's `close()` has.
    pub fn close(mut self) -> io::Result<()> {
        self.0.close(false)
    }

    /// Closes it with RST.
    pub fn reset(mut self) -> io::Result<()> {
        self.0.close(true)
    }
}

/// A UDP socket that a client process holds, connected or not. Dropping it closes it.
#[derive(Debug)]
pub struct Datagrams(Held);

impl Datagrams {
    pub(super) fn new(client: Client, socket: SocketId) -> Self {
        Self(Held { client, socket, closed: false })
    }

    /// Connects it, or connects it elsewhere.
    pub fn connect(&self, to: impl Into<SocketAddr>) -> io::Result<()> {
        self.0.done(&Request::Reconnect { socket: self.0.socket, to: to.into() })
    }

    /// Sends to the connected address and returns the echo server's answer.
    pub fn ask(&self, text: &str) -> io::Result<Answer> {
        self.send(text)?;
        Ok(self.receive()?.0)
    }

    /// Sends to an address with sendto, and returns the answer and whom recvfrom shows as its source.
    pub fn ask_at(&self, to: impl Into<SocketAddr>, text: &str) -> io::Result<(Answer, SocketAddr)> {
        self.send_to(to, text)?;
        self.receive()
    }

    /// Sends to the connected address.
    pub fn send(&self, text: &str) -> io::Result<()> {
        self.0.send(text, None)
    }

    /// Sends to an address with sendto.
    pub fn send_to(&self, to: impl Into<SocketAddr>, text: &str) -> io::Result<()> {
        self.0.send(text, Some(to.into()))
    }

    /// Receives an answer with recvfrom; waits 5 s for it at most, then gives `WouldBlock`.
    pub fn receive(&self) -> io::Result<(Answer, SocketAddr)> {
        let (answer, from) = self.0.receive()?;
        Ok((answer, from.ok_or_else(|| io::Error::other("a datagram without a source"))?))
    }

    /// getpeername.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.0.address(&Request::Peer { socket: self.0.socket })
    }

    /// getsockname.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.address(&Request::Local { socket: self.0.socket })
    }

    /// Closes it.
    pub fn close(mut self) -> io::Result<()> {
        self.0.close(false)
    }
}
