//! One process of a storm.

use super::board::Board;
use crate::echo::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the process is told; see [`Plan`](super::Plan).
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[arg(long)]
    board: PathBuf,
    #[arg(long)]
    number: usize,
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    hold: usize,
    #[arg(long)]
    connects: u64,
    #[arg(long)]
    udp: bool,
}

/// Connects, holds, resets, until it has done its part or is told to stop.
pub fn weather(arguments: &Arguments) -> anyhow::Result<()> {
    let &Arguments { number, to, hold, connects, .. } = arguments;
    let transport = if arguments.udp { Transport::Udp } else { Transport::Tcp };
    let board = Board::open(&arguments.board)?;
    let mut held = VecDeque::new();
    for _ in 0..connects {
        if board.stopped() {
            break;
        }
        let refused = match connect(transport, to) {
            Ok(socket) => {
                board.opened(number);
                held.push_back(socket);
                false
            }
            Err(error) => {
                board.failed(number, error.raw_os_error().unwrap_or_default());
                true
            }
        };
        // Whoever is refused closes one, too: else those who hold all of a limit's connections would wait for each other.
        if held.len() >= hold.max(1) || (refused && !held.is_empty()) {
            board.closing(number);
            held.pop_front();
        }
    }
    for socket in held {
        board.closing(number);
        drop(socket);
    }
    Ok(())
}

fn connect(transport: Transport, to: SocketAddr) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    if transport == Transport::Tcp {
        // RST at close: no TIME_WAIT, or a storm would soon be out of ports.
        socket.set_linger(Some(Duration::ZERO))?;
    }
    socket.connect(&to.into())?;
    Ok(socket)
}
