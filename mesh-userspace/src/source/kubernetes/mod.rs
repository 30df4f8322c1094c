//! The Kubernetes API server as a source: what it holds, and what changes in it.
//!
//! ```text
//! connection (which server, as whom) -> kinds (one stream of events a kind) -> follow (events become changes)
//!                                            known (what was sent, and what a full list takes back)
//!                                            link (how it stands with the server, and whether it is still the same)
//! ```
//!
//! While the server cannot be reached, what it last said goes on. A full list is believed once it is complete: what is
//! not in it is gone.

mod connection;
mod follow;
mod kinds;
mod known;
mod link;

use super::Change;
use crate::model::NodePorts;
use kube::Client;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use connection::{Connection, ConnectionError, connect};

/// Following ends when this is dropped.
#[derive(Debug)]
pub struct Handle(#[expect(dead_code, reason = "dropping it ends its tasks")] JoinSet<()>);

/// What the tasks of one source share.
#[derive(Clone)]
struct Shared {
    client: Client,
    changes: mpsc::Sender<Vec<Change>>,
    /// Kinds whose first full list is not complete yet.
    awaited: Arc<AtomicUsize>,
    reports: mpsc::Sender<link::Report>,
    /// Raised when everything must be listed anew: the server is another one than it was.
    generation: watch::Receiver<u64>,
}

/// Follows the API server behind `client` on behalf of `node`, and sends what it says. `node_ports` says whether the other
/// nodes' addresses are needed.
pub fn spawn(client: Client, node: &str, node_ports: NodePorts, changes: mpsc::Sender<Vec<Change>>) -> Handle {
    let (reports, reported) = mpsc::channel(64);
    let (renew, generation) = watch::channel(0);
    let kinds = kinds::all(node, node_ports);
    let shared = Shared { client, changes, awaited: Arc::new(AtomicUsize::new(kinds.len())), reports, generation };
    let mut tasks = JoinSet::new();
    tasks.spawn(link::watch(shared.client.clone(), shared.changes.clone(), reported, renew));
    for kind in kinds {
        tasks.spawn(follow::follow(kind, shared.clone()));
    }
    Handle(tasks)
}
