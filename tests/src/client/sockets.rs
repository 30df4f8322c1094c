//! The sockets of a client process, and what it does with them when it is told to.

use super::protocol::{Reply, Request, SocketId, Tally};
use crate::echo::{Answer, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// How long a connect, a send or a receive may block: long enough for a busy machine, and then a test should know.
const TIMEOUT: Duration = Duration::from_secs(5);

/// All sockets that this process holds.
#[derive(Default)]
pub struct Sockets {
    held: HashMap<SocketId, Held>,
    last: SocketId,
}

enum Held {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Sockets {
    /// Does what is asked.
    pub fn obey(&mut self, request: Request) -> io::Result<Reply> {
        match request {
            Request::Connect { transport, to } => {
                let socket = connect(transport, to)?;
                Ok(self.hold(socket))
            }
            Request::Udp { ipv6 } => {
                let family = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
                let socket = open(Transport::Udp, family)?;
                Ok(self.hold(Held::Udp(socket.into())))
            }
            Request::Reconnect { socket, to } => match self.get(socket)? {
                Held::Udp(socket) => socket.connect(to).map(|()| Reply::Done),
                Held::Tcp(_) => Err(io::Error::other("only UDP sockets connect again")),
            },
            Request::Close { socket, reset } => {
                let held = self.held.remove(&socket).ok_or_else(|| no_such(socket))?;
                if reset {
                    held.reset_on_close()?;
                }
                Ok(Reply::Done)
            }
            Request::Peer { socket } => match self.get(socket)? {
                Held::Tcp(stream) => stream.peer_addr().map(Reply::Address),
                Held::Udp(socket) => socket.peer_addr().map(Reply::Address),
            },
            Request::Local { socket } => match self.get(socket)? {
                Held::Tcp(stream) => stream.local_addr().map(Reply::Address),
                Held::Udp(socket) => socket.local_addr().map(Reply::Address),
            },
            Request::Send { socket, text, to } => self.get(socket)?.send(&text, to).map(|()| Reply::Done),
            Request::Receive { socket } => {
                let (text, from) = self.get(socket)?.receive()?;
                Ok(Reply::Received { text, from })
            }
            Request::Tally { transport, to, times } => Ok(Reply::Tally(tally(transport, to, times)?)),
            Request::Resolve { name } => {
                let mut addresses: Vec<_> = (name.as_str(), 0).to_socket_addrs()?.map(|found| found.ip()).collect();
                addresses.sort_unstable();
                addresses.dedup();
                Ok(Reply::Addresses(addresses))
            }
            Request::Get { from, path } => get(from, &path).map(Reply::Status),
        }
    }

    fn hold(&mut self, socket: Held) -> Reply {
        self.last += 1;
        self.held.insert(self.last, socket);
        Reply::Socket(self.last)
    }

    fn get(&mut self, socket: SocketId) -> io::Result<&mut Held> {
        self.held.get_mut(&socket).ok_or_else(|| no_such(socket))
    }
}

fn no_such(socket: SocketId) -> io::Error {
    io::Error::other(format!("socket {socket} is closed"))
}

impl Held {
    fn send(&mut self, text: &str, to: Option<SocketAddr>) -> io::Result<()> {
        match (self, to) {
            (Self::Tcp(stream), None) => stream.write_all(text.as_bytes()),
            (Self::Tcp(_), Some(_)) => Err(io::Error::other("a TCP connection has one address")),
            (Self::Udp(socket), None) => socket.send(text.as_bytes()).map(|_| ()),
            (Self::Udp(socket), Some(to)) => socket.send_to(text.as_bytes(), to).map(|_| ()),
        }
    }

    fn receive(&mut self) -> io::Result<(String, Option<SocketAddr>)> {
        let mut buffer = [0; 4096];
        match self {
            Self::Tcp(stream) => {
                // The server answers line by line, and nobody asks for a second one before the first has come.
                let mut line = Vec::new();
                while !line.ends_with(b"\n") {
                    match stream.read(&mut buffer)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        length => line.extend_from_slice(&buffer[..length]),
                    }
                }
                Ok((String::from_utf8_lossy(&line).into_owned(), None))
            }
            Self::Udp(socket) => {
                let (length, from) = socket.recv_from(&mut buffer)?;
                Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), Some(from)))
            }
        }
    }

    fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Self::Udp(_) => Ok(()),
        }
    }
}

fn open(transport: Transport, family: Domain) -> io::Result<Socket> {
    let socket = match transport {
        Transport::Tcp => Socket::new(family, Type::STREAM, Some(Protocol::TCP))?,
        Transport::Udp => Socket::new(family, Type::DGRAM, Some(Protocol::UDP))?,
    };
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// One blocking `connect()`, so that the errno is the kernel's own.
fn connect(transport: Transport, to: SocketAddr) -> io::Result<Held> {
    let socket = open(transport, Domain::for_address(to))?;
    socket.connect(&to.into())?;
    Ok(match transport {
        Transport::Tcp => Held::Tcp(socket.into()),
        Transport::Udp => Held::Udp(socket.into()),
    })
}

fn tally(transport: Transport, to: SocketAddr, times: u32) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for _ in 0..times {
        match ask_once(transport, to) {
            Ok(server) => *tally.answers.entry(server).or_default() += 1,
            Err(error) => match error.raw_os_error() {
                Some(errno) => *tally.errors.entry(errno).or_default() += 1,
                None => return Err(error),
            },
        }
    }
    Ok(tally)
}

fn ask_once(transport: Transport, to: SocketAddr) -> io::Result<String> {
    let mut held = connect(transport, to)?;
    held.send("who\n", None)?;
    let (text, _) = held.receive()?;
    held.reset_on_close()?;
    Ok(text.parse::<Answer>().map_err(io::Error::other)?.server)
}

/// The status that an HTTP server gives for a page.
fn get(from: SocketAddr, path: &str) -> io::Result<u16> {
    let mut held = connect(Transport::Tcp, from)?;
    held.send(&format!("GET {path} HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n"), None)?;
    let mut text = String::new();
    match held {
        Held::Tcp(mut stream) => stream.read_to_string(&mut text)?,
        Held::Udp(_) => return Err(io::Error::other("HTTP is over TCP")),
    };
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("{text:?} is no HTTP answer")))
}
