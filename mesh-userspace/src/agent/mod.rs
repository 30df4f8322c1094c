//! The agent: one task that owns the cluster state, wired to its sources, its maps and its socket.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | what the owner owns, and each thing that it does |
//! | `owner` | the loop: what happened, done one after the other |
//! | `ending` | what the owner does to end connections |
//! | `drains` | ending the sockets of backends that are gone |
//! | `lifetimes` | ending connections that are idle for too long or too old |
//! | `ejected` | asking ejected backends whether they are back |
//! | `pods` | what the programs must know of the node's pods |
//! | `cgroups` | the pods' cgroups |
//! | `tombstones` | what is left of Services that were deleted |
//! | `told` | what the programs were told in maps of keys |
//! | `ring` | the programs' events, read and named |
//! | `complaints` | what is wrong, told to the log once |
//! | `memory` | the allocator |
//! | `clock` | the programs' clock and people's |

mod cgroups;
mod clock;
mod complaints;
mod drains;
mod ejected;
mod ending;
pub mod engine;
mod failover;
mod lifetimes;
mod memory;
mod owner;
mod pods;
mod recount;
mod ring;
mod told;
mod tombstones;

pub use clock::{monotonic, timestamp};

use crate::api::{health_checks, probes, query, server};
use crate::config::{AgentConfig, Source};
use crate::datapath::{self, Cgroup, Pins};
use crate::report::{self, Terms};
use crate::source::{Change, kubernetes, manifests};
use anyhow::Context;
use engine::Engine;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Batches of changes that may wait for the owner.
const CHANGES: usize = 1024;

/// Questions that may wait for the owner.
const QUERIES: usize = 64;

/// Runs until SIGTERM or SIGINT; the data path stays in place.
pub fn run(config: &AgentConfig) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        // Else a log that cannot be written (a full disk) is complained of with eprintln!, which panics.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    memory::share();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: &AgentConfig) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let pins = Pins::new(&config.datapath.pins);
    pins.prepare()?;
    let _lock = pins.lock()?;
    let cgroup = Cgroup::open(&config.datapath.cgroup)?;
    let listener = server::open(&config.socket)?;
    let health = open(config.health, "--health-address").await?;
    let metrics = open(config.metrics, "--metrics-address").await?;
    let loaded = datapath::load(&pins, &config.sizes)?;
    let ring = ring::Ring::new(&loaded)?;
    let (changes, received) = mpsc::channel(CHANGES);
    let following = follow(config, changes).await?;
    let (reports, reported) = watch::channel(None);
    let telling = following.client.map(|client| {
        let identity = format!("{}{}", config.node_name, config.datapath.pins.display());
        report::spawn(client, identity, config.node_name.as_str().into(), Terms::default(), reported, stop.clone())
    });
    let engine = Engine::new(config, &following.name, cgroup, loaded, reports)?;
    let (queries, asked): (query::Queries, _) = mpsc::channel(QUERIES);
    let mut servers = JoinSet::new();
    for (listener, routes) in [(health, probes::health(queries.clone())), (metrics, probes::metrics(queries.clone()))] {
        if let Some(listener) = listener {
            servers.spawn(probes::serve(listener, routes, stopped(stop.clone())));
        }
    }
    if config.health_check_node_ports {
        let checks = engine.health_checks();
        let stop = stop.clone();
        servers.spawn(async {
            tokio::select! {
                () = health_checks::serve(checks) => {}
                () = stopped(stop) => {}
            }
            Ok(())
        });
    }
    servers.spawn(server::serve(listener, queries, stopped(stop.clone())));
    owner::own(engine, received, asked, ring, stop).await?;
    if let Some(telling) = telling {
        // It gives back its Lease; if that takes long, the Lease runs out.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), telling).await;
    }
    // Answers under way are given up after a moment: nothing depends on them.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), servers.join_all()).await;
    let _ = std::fs::remove_file(&config.socket);
    tracing::info!("the agent ends; the data path stays in place (`mesh unload` takes it away)");
    Ok(())
}

/// The source, for as long as this is held.
struct Following {
    /// What people call the source.
    name: String,
    /// The API server, when that is the source: it is told what is wrong with its objects.
    client: Option<kube::Client>,
    _source: Box<dyn Send>,
}

/// Begins to follow the source that the configuration names.
async fn follow(config: &AgentConfig, changes: mpsc::Sender<Vec<Change>>) -> anyhow::Result<Following> {
    match &config.source {
        Source::Manifests(directory) => {
            let source = manifests::spawn(directory, changes)?;
            Ok(Following { client: None, name: directory.display().to_string(), _source: Box::new(source) })
        }
        Source::Kubernetes(connection) => {
            let (client, url) = kubernetes::connect(connection).await?;
            let source = kubernetes::spawn(client.clone(), &config.node_name, config.node_ports, changes);
            Ok(Following { client: Some(client), name: url, _source: Box::new(source) })
        }
    }
}

/// The TCP address that the configuration may name.
async fn open(address: Option<SocketAddr>, option: &'static str) -> Result<Option<TcpListener>, probes::ListenError> {
    match address {
        Some(address) => probes::listen(address, option).await.map(Some),
        None => Ok(None),
    }
}

/// Resolves once the agent was told to end.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: the process is ending, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// True once the agent was told to end.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let (tell, told) = watch::channel(false);
    let tell = Arc::new(tell);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = tell.send(true); // nobody listens any more: the agent has ended
    });
    Ok(told)
}
