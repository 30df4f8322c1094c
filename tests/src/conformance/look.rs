//! What a client program sees, in words that are the same in every run.

use crate::client::{Client, Datagrams, Tally};
use crate::echo::Transport;
use anyhow::Result;
use nix::errno::Errno;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a proxy may take to bring a change into force: kube-proxy writes at most once a second, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

/// Connects in a row that find every one of four equally likely backends but for one run in ten thousand, which tries
/// again.
const CONNECTS: u32 = 40;

/// No answer, and no error, for as long as a client program waits.
const SILENCE: &str = "silence";

/// Looks until what is seen is what is `wanted`, and gives what was seen last: for what is in force a moment later.
pub fn settle(wanted: &str, mut look: impl FnMut() -> Result<String>) -> Result<String> {
    let started = Instant::now();
    loop {
        let seen = look();
        match &seen {
            Ok(seen) if seen == wanted => return Ok(seen.clone()),
            _ if started.elapsed() > PATIENCE => return seen,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Who answers new connections, each of them by name, or the error that all or some of them have.
pub fn answers(client: &Client, transport: Transport, to: SocketAddr) -> Result<String> {
    let ask = |times| match transport {
        Transport::Tcp => client.tally(to, times),
        Transport::Udp => client.tally_udp(to, times),
    };
    // What is silent costs the client's whole patience each time.
    let first = ask(1)?;
    let rest = if first.failed() > 0 { ask(1)? } else { ask(CONNECTS - 1)? };
    let mut all = first;
    all.add(&rest);
    Ok(words(&all))
}

/// [`answers`] of TCP, waited for.
pub fn tcp(client: &Client, to: SocketAddr, wanted: &str) -> Result<String> {
    settle(wanted, || answers(client, Transport::Tcp, to))
}

/// [`answers`] of connected UDP sockets, waited for.
pub fn udp(client: &Client, to: SocketAddr, wanted: &str) -> Result<String> {
    settle(wanted, || answers(client, Transport::Udp, to))
}

/// What a single new connection is told, waited for. The kernel answers with ICMP errors once a second at most, so that
/// a second try at once may be met with silence.
pub fn refused(client: &Client, transport: Transport, to: SocketAddr) -> Result<String> {
    settle("ECONNREFUSED", || {
        std::thread::sleep(Duration::from_millis(1500));
        Ok(words(&match transport {
            Transport::Tcp => client.tally(to, 1)?,
            Transport::Udp => client.tally_udp(to, 1)?,
        }))
    })
}

/// Who answers a datagram of a socket that is not connected, and stays.
pub fn datagram(socket: &Datagrams, to: SocketAddr) -> String {
    told(socket.ask_at(to, "who").map(|(answer, _)| answer.server))
}

/// What came of a system call, in a word: the answer, the errno's name, or silence.
pub fn told(result: io::Result<String>) -> String {
    match result {
        Ok(answer) => answer,
        Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), errno),
    }
}

/// `web-1, web-2`; with errors, their names after a plus sign.
fn words(tally: &Tally) -> String {
    let servers: Vec<_> = tally.answers.keys().cloned().collect();
    let errors: Vec<_> = tally.errors.keys().map(|&number| errno(number)).collect();
    match (servers.is_empty(), errors.is_empty()) {
        (true, _) => errors.join(" or "),
        (false, true) => servers.join(", "),
        (false, false) => format!("{} + {}", servers.join(", "), errors.join(" or ")),
    }
}

/// A socket with a timeout says EAGAIN, and EINPROGRESS in connect(), when nothing came.
fn errno(number: i32) -> String {
    match Errno::from_raw(number) {
        Errno::EAGAIN | Errno::EINPROGRESS | Errno::ETIMEDOUT => SILENCE.to_owned(),
        other => format!("{other:?}"),
    }
}
