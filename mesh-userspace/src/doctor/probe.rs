//! The child of `mesh doctor`: client and backend at once, in a network namespace of its own.

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use serde::{Deserialize, Serialize};
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// What is tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The cgroup to be in.
    pub cgroup: PathBuf,
    /// What to dial.
    pub frontend: SocketAddr,
    /// Where it may arrive.
    pub backends: Vec<SocketAddr>,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It went somewhere.
    Connected {
        /// What getpeername shows.
        peer: SocketAddr,
        /// Where it arrived.
        reached: SocketAddr,
    },
    /// It was refused.
    Refused {
        /// By what.
        error: String,
    },
}

/// The kernel's table of local addresses (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;

/// The loopback device is the first one of every network namespace.
const LOOPBACK: u32 = 1;

/// Tries it. The caller's process is changed for good: it is in another cgroup and another network namespace after.
pub fn answer(question: &Question) -> anyhow::Result<Outcome> {
    // A socket belongs to the cgroup in which it is made: go there first.
    let procs = question.cgroup.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string()).with_context(|| format!("write {}", procs.display()))?;
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        all_addresses_are_local(question.frontend.is_ipv6()).await.context("set up the network namespace")?;
        let mut ports: Vec<_> = question.backends.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let any: IpAddr =
            if question.frontend.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let mut listeners = Vec::new();
        for port in ports {
            listeners.push(TcpListener::bind((any, port)).await.with_context(|| format!("listen on port {port}"))?);
        }
        connect(question.frontend, &listeners).await
    })
}

async fn connect(frontend: SocketAddr, listeners: &[TcpListener]) -> anyhow::Result<Outcome> {
    let patience = Duration::from_secs(5);
    let stream = match tokio::time::timeout(patience, TcpStream::connect(frontend)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ok(Outcome::Refused { error: error.to_string() }),
        Err(_) => return Ok(Outcome::Refused { error: format!("no answer in {patience:?}") }),
    };
    let accepted = poll_fn(|context| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    });
    let Ok(accepted) = tokio::time::timeout(patience, accepted).await else {
        bail!("the connection was made and never arrived");
    };
    let reached = accepted?.0.local_addr()?;
    Ok(Outcome::Connected { peer: stream.peer_addr()?, reached })
}

/// Loopback up, and every address on it.
async fn all_addresses_are_local(v6: bool) -> anyhow::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    handle.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
    let route = if v6 {
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(Ipv6Addr::UNSPECIFIED, 0);
        route.kind(RouteType::Local).scope(RouteScope::Host).table_id(LOCAL_TABLE).output_interface(LOOPBACK).build()
    } else {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(Ipv4Addr::UNSPECIFIED, 0);
        route.kind(RouteType::Local).scope(RouteScope::Host).table_id(LOCAL_TABLE).output_interface(LOOPBACK).build()
    };
    handle.route().add(route).execute().await?;
    Ok(())
}
