//! What the echo server `mesh-echo` listens on and answers: who answers, whom it sees, and what was said.
//!
//! TCP: each line is answered with a line, a `GET` with an HTTP page of the same. UDP: each datagram with a datagram.
//! The line or datagram [`OPEN`] is answered with the number of open TCP connections instead.

use anyhow::{Context, Error, Result};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Asks for the number of TCP connections that the server has open on all its ports.
pub const OPEN: &str = "open?";

/// TCP or UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port to listen on, in both families: `tcp/8080`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Listen {
    /// The protocol.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

impl Listen {
    /// A TCP port.
    pub const fn tcp(port: u16) -> Self {
        Self { transport: Transport::Tcp, port }
    }

    /// A UDP port.
    pub const fn udp(port: u16) -> Self {
        Self { transport: Transport::Udp, port }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}/{}", self.port)
    }
}

impl FromStr for Listen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (transport, port) =
            text.split_once('/').with_context(|| format!("{text}: expected tcp/PORT or udp/PORT"))?;
        let port = port.parse().with_context(|| format!("{text}: the port"))?;
        match transport {
            "tcp" => Ok(Self::tcp(port)),
            "udp" => Ok(Self::udp(port)),
            _ => anyhow::bail!("{text}: expected tcp/PORT or udp/PORT"),
        }
    }
}

/// An answer of the echo server: `web-1 10.244.0.5:43210 hello`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The server's name; that of its pod.
    pub server: String,
    /// The client as the server sees it.
    pub client: SocketAddr,
    /// What was said to it.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.server, self.client, self.text)
    }
}

impl FromStr for Answer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.trim_end().splitn(3, ' ');
        let parts = (words.next(), words.next().and_then(|client| client.parse().ok()), words.next());
        let (Some(server), Some(client), Some(said)) = parts else {
            anyhow::bail!("{text:?} is no answer of mesh-echo");
        };
        Ok(Self { server: server.to_owned(), client, text: said.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_ports_are_read_as_they_are_written() {
        let answer = Answer { server: "web-1".into(), client: "[fd00::5]:80".parse().unwrap(), text: "a b c".into() };
        assert_eq!(answer.to_string().parse::<Answer>().unwrap(), answer);
        assert_eq!("udp/53".parse::<Listen>().unwrap(), Listen::udp(53));
        assert_eq!(Listen::tcp(80).to_string(), "tcp/80");
        assert!("tcp/70000".parse::<Listen>().is_err());
        assert!("HTTP/1.1 200 OK".parse::<Answer>().is_err());
    }
}
