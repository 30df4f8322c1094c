//! A server that answers who it is and whom it sees, over TCP lines, HTTP and UDP: `mesh-echo --name web-1 tcp/80 udp/53`.

use anyhow::{Context, Result};
use clap::Parser;
use mesh_tests::echo::{Answer, Listen, OPEN, Transport};
use mesh_tests::limits::raise_open_files;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::Cell;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{LocalSet, spawn_local};

/// An echo server. Says `ready` on stdout once it listens everywhere.
#[derive(Parser)]
struct Arguments {
    /// The name that it answers with.
    #[arg(long)]
    name: String,
    /// Answers so many milliseconds after it was asked.
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Ports, as tcp/80 or udp/53. Each is opened for IPv4 and IPv6.
    #[arg(required = true)]
    listen: Vec<Listen>,
}

/// What all connections of one server share.
struct Server {
    name: String,
    delay: Duration,
    open: Cell<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    raise_open_files()?;
    let server =
        Rc::new(Server { name: arguments.name, delay: Duration::from_millis(arguments.delay), open: Cell::new(0) });
    let everything = LocalSet::new();
    for listen in arguments.listen {
        let socket = bind(listen).with_context(|| format!("listen on {listen}"))?;
        let server = Rc::clone(&server);
        match listen.transport {
            Transport::Tcp => {
                let listener = TcpListener::from_std(socket.into())?;
                everything.spawn_local(accept(server, listener));
            }
            Transport::Udp => {
                let socket = UdpSocket::from_std(socket.into())?;
                everything.spawn_local(echo_datagrams(server, socket));
            }
        }
    }
    println!("ready");
    everything.await;
    Ok(())
}

fn bind(listen: Listen) -> Result<Socket> {
    let (kind, protocol) = match listen.transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::IPV6, kind.nonblocking(), Some(protocol))?;
    socket.set_only_v6(false)?;
    if listen.transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, listen.port)).into())?;
    if listen.transport == Transport::Tcp {
        socket.listen(4096)?;
    }
    Ok(socket)
}

async fn accept(server: Rc<Server>, listener: TcpListener) {
    loop {
        // What fails here is one client that has gone again.
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let server = Rc::clone(&server);
        spawn_local(async move {
            server.open.set(server.open.get() + 1);
            // A client that resets its connection has ended it.
            serve(&server, stream, canonical(peer)).await.ok();
            server.open.set(server.open.get() - 1);
        });
    }
}

async fn serve(server: &Server, stream: TcpStream, peer: SocketAddr) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let request = line.trim_end().to_owned();
        line.clear();
        let http = request.ends_with(" HTTP/1.1") || request.ends_with(" HTTP/1.0");
        if http {
            // The headers up to the empty line say nothing that matters here.
            while stream.read_line(&mut line).await? > 0 && !line.trim_end().is_empty() {
                line.clear();
            }
            line.clear();
        }
        let said = if http { request.split(' ').nth(1).unwrap_or_default() } else { &request };
        server.think().await;
        let mut answer = server.answer(peer, said).to_string() + "\n";
        if http {
            let length = answer.len();
            answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{answer}");
        }
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn echo_datagrams(server: Rc<Server>, socket: UdpSocket) {
    let mut buffer = vec![0; 65536];
    loop {
        // An error is that of an earlier answer to a client that has gone.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]);
        server.think().await;
        let answer = server.answer(canonical(peer), &text).to_string();
        socket.send_to(answer.as_bytes(), peer).await.ok();
    }
}

impl Server {
    async fn think(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }

    fn answer(&self, client: SocketAddr, said: &str) -> Answer {
        let text = if said == OPEN { self.open.get().to_string() } else { said.to_owned() };
        Answer { server: self.name.clone(), client, text }
    }
}

/// A v4-mapped peer as the IPv4 address that it is.
fn canonical(peer: SocketAddr) -> SocketAddr {
    (peer.ip().to_canonical(), peer.port()).into()
}
