//! A connection that stays open while things happen.

use mesh_tests::client::{Client, Connection, Datagrams};
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use std::io;
use std::net::SocketAddr;

/// A connected socket, TCP or UDP.
#[derive(Debug)]
pub enum Hold {
    /// A TCP connection.
    Tcp(Connection),
    /// A connected UDP socket.
    Udp(Datagrams),
}

impl Hold {
    /// Connects to a frontend.
    pub fn open(client: &Client, frontend: &Frontend) -> io::Result<Self> {
        match frontend.transport {
            Transport::Tcp => client.connect(frontend.address).map(Self::Tcp),
            Transport::Udp => client.connect_udp(frontend.address).map(Self::Udp),
        }
    }

    /// Who answers at the other end.
    pub fn server(&self) -> io::Result<String> {
        match self {
            Self::Tcp(connection) => connection.server(),
            Self::Udp(datagrams) => Ok(datagrams.ask("who")?.server),
        }
    }

    /// getpeername.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(connection) => connection.peer(),
            Self::Udp(datagrams) => datagrams.peer(),
        }
    }
}
