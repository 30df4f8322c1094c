//! A client process in a pod, directed by a test: connections that are real, held, and asked one by one.

mod connection;
mod obey;
mod protocol;
mod sockets;

pub use connection::{Connection, Datagrams};
pub use obey::obey;
pub use protocol::Tally;

use crate::echo::Transport;
use crate::programs;
use crate::world::{Pod, Process};
use anyhow::{Context, Result};
use nix::unistd::Pid;
use protocol::{Failure, Reply, Request};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The program `mesh-client` in a pod. What fails in the kernel comes back as [`io::Error`] with the errno that the
/// client saw. The process ends when the last clone, connection and datagram socket of it is dropped.
#[derive(Clone, Debug)]
pub struct Client(Arc<Mutex<Wire>>);

#[derive(Debug)]
struct Wire {
    process: Process,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Client {
    pub(crate) fn start(pod: &Pod) -> Result<Self> {
        let mut command = pod.detached(programs::find("mesh-client")?)?;
        command.arg("obey");
        Self::over(&format!("mesh-client in {}", pod.name()), command, pod.next_log("client"))
    }

    /// The same program wherever `command` starts it, its input and output passed on.
    pub(crate) fn over(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(name, &mut command, log)?;
        let child = process.child();
        let requests = Some(child.stdin.take().context("the input is a pipe")?);
        let replies = BufReader::new(child.stdout.take().context("the output is a pipe")?);
        Ok(Self(Arc::new(Mutex::new(Wire { process, requests, replies }))))
    }

    /// Connects with TCP.
    pub fn connect(&self, to: impl Into<SocketAddr>) -> io::Result<Connection> {
        let request = Request::Connect { transport: Transport::Tcp, to: to.into() };
        Ok(Connection::new(self.clone(), self.socket(&request)?))
    }

    /// Connects a UDP socket.
    pub fn connect_udp(&self, to: impl Into<SocketAddr>) -> io::Result<Datagrams> {
        let request = Request::Connect { transport: Transport::Udp, to: to.into() };
        Ok(Datagrams::new(self.clone(), self.socket(&request)?))
    }

    /// Makes a UDP socket that is not connected.
    pub fn udp(&self) -> io::Result<Datagrams> {
        Ok(Datagrams::new(self.clone(), self.socket(&Request::Udp { ipv6: false })?))
    }

    /// Makes an IPv6 UDP socket that is not connected; it speaks IPv4, too, with v4-mapped addresses.
    pub fn udp_v6(&self) -> io::Result<Datagrams> {
        Ok(Datagrams::new(self.clone(), self.socket(&Request::Udp { ipv6: true })?))
    }

    /// Opens `count` connections and holds them; the first error ends it.
    pub fn connect_many(&self, to: impl Into<SocketAddr>, count: usize) -> io::Result<Vec<Connection>> {
        let to = to.into();
        (0..count).map(|_| self.connect(to)).collect()
    }

    /// Connects `times` times one after the other, asks each time who it is, and says who answered how often.
    pub fn tally(&self, to: impl Into<SocketAddr>, times: u32) -> io::Result<Tally> {
        self.tally_with(Transport::Tcp, to.into(), times)
    }

    /// The same with a new connected UDP socket each time.
    pub fn tally_udp(&self, to: impl Into<SocketAddr>, times: u32) -> io::Result<Tally> {
        self.tally_with(Transport::Udp, to.into(), times)
    }

    /// Looks a name up with the pod's resolver.
    pub fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self.ask(&Request::Resolve { name: name.to_owned() })? {
            Reply::Addresses(addresses) => Ok(addresses),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks an HTTP server for a page and returns the status.
    pub fn get(&self, from: impl Into<SocketAddr>, path: &str) -> io::Result<u16> {
        match self.ask(&Request::Get { from: from.into(), path: path.to_owned() })? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    fn tally_with(&self, transport: Transport, to: SocketAddr, times: u32) -> io::Result<Tally> {
        match self.ask(&Request::Tally { transport, to, times })? {
            Reply::Tally(tally) => Ok(tally),
            other => Err(unexpected(&other)),
        }
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        self.wire().process.id()
    }

    /// Kills the process with SIGKILL, with all sockets that it holds, and waits until it is gone.
    pub fn kill(&self) {
        self.wire().process.kill();
    }

    fn socket(&self, request: &Request) -> io::Result<protocol::SocketId> {
        match self.ask(request)? {
            Reply::Socket(socket) => Ok(socket),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, request: &Request) -> io::Result<Reply> {
        let mut wire = self.wire();
        let line = serde_json::to_string(request)? + "\n";
        let answer = wire.exchange(&line).map_err(|error| {
            io::Error::other(format!("the client process is gone ({error}); it said: {}", wire.process.log()))
        })?;
        match serde_json::from_str(&answer)? {
            Ok(reply) => Ok(reply),
            Err(Failure { errno: Some(errno), .. }) => Err(io::Error::from_raw_os_error(errno)),
            Err(Failure { errno: None, message }) => Err(io::Error::other(message)),
        }
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        // A panic of another test thread in between leaves at most a line unread, which then shows as such.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    fn exchange(&mut self, line: &str) -> io::Result<String> {
        self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())?;
        let mut answer = String::new();
        match self.replies.read_line(&mut answer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The end of its input is what ends it; waiting leaves no zombie.
        self.requests = None;
        self.process.wait().ok();
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("the client process answered something else: {reply:?}"))
}
