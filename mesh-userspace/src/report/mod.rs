//! What is wrong with users' objects, told on the objects themselves: as conditions and as Events.
//!
//! ```text
//! owner -> Report -> wanted (what to say) -> told (what of it is new) -> write        lease (by one agent only)
//! ```
//!
//! Every agent sees the same objects, so one of them, elected over a Lease, speaks for all. It writes what changed, once, and
//! takes back what is mended. The owner never waits for any of this: it leaves its newest [`Report`] in a watch channel.

mod lease;
mod reporter;
mod told;
mod wanted;
mod write;

pub use lease::Terms;

use crate::model::{Finding, ObjectRef};
use kube::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The manager of the fields that are written here (server-side apply), the prefix of conditions on kinds that are not ours, and
/// the controller that Events name.
const FIELD_MANAGER: &str = "mesh.dev";

/// The Lease's name.
const LEASE: &str = "mesh-report";

/// What is known of the objects that came from the API server.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Every policy with the generation that was read, whether or not something is wrong with it.
    pub policies: BTreeMap<ObjectRef, Option<i64>>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// Where the owner leaves its newest report; `None` until every source has sent its first full list.
pub type Reports = watch::Receiver<Option<Arc<Report>>>;

/// Tells the cluster, whenever this agent is the elected one, until `stop` is true. `identity` is this agent's among all that
/// are fed by the same cluster, `node` the one that it runs on.
pub fn spawn(
    client: Client,
    identity: String,
    node: Arc<str>,
    terms: Terms,
    reports: Reports,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let (lead, leading) = watch::channel(false);
    let election = lease::Election::new(client.clone(), LEASE, identity, terms);
    tokio::spawn(async move {
        let reporter = reporter::Reporter::new(client, node, reports, leading);
        // The election ends by itself; the reporter writes nothing without it.
        tokio::select! {
            () = election.run(lead, stop) => {}
            () = reporter.run() => {}
        }
    })
}

/// An error with all its causes.
fn words(error: Option<kube::Error>) -> String {
    error.map_or_else(String::new, |error| format!("{:#}", anyhow::Error::from(error)))
}
