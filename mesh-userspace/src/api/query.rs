//! What the API asks the task that owns the cluster state.

use super::types::{
    Backend, Connection, Event, Explanation, Failure, Finding, Policy, PolicyDetail, Service, ServiceDetail,
    ServiceTable, Status,
};
use crate::metrics::Figures;
use jiff::Timestamp;
use mesh_common::address::Protocol;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// The way of the server to the owner of the state.
pub type Queries = mpsc::Sender<Query>;

/// Where the answer goes. The asker may be gone: a failed send is not an error.
pub type Reply<T> = oneshot::Sender<T>;

/// One question. The owner answers between two changes, so an answer is one moment's whole truth.
#[derive(Debug)]
pub enum Query {
    /// `/v1/status`.
    Status(Reply<Status>),
    /// `/readyz`, `/healthz`.
    Vitals(Reply<Vitals>),
    /// `/metrics`.
    Figures(Reply<Box<Figures>>),
    /// `/livez`: that the owner answers at all.
    Alive(Reply<()>),
    /// `/v1/services`, sorted by namespace and name.
    Services(Scope, Reply<Vec<Service>>),
    /// `/v1/services/{namespace}/{name}`.
    Service(String, String, Reply<Option<ServiceDetail>>),
    /// `/v1/policies`, sorted by kind, namespace and name.
    Policies(Scope, Reply<Vec<Policy>>),
    /// `/v1/policies/{namespace}/{name}`: one of each kind at most.
    Policy(String, String, Reply<Vec<PolicyDetail>>),
    /// `/v1/backends`, sorted by Service, port and address.
    Backends(Scope, Reply<Vec<Backend>>),
    /// `/v1/connections`, oldest first.
    Connections(Scope, Reply<Vec<Connection>>),
    /// `/v1/explain`.
    Explain(ExplainQuery, Reply<Result<Explanation, Failure>>),
    /// `/v1/findings`.
    Findings(Reply<Vec<Finding>>),
    /// `/v1/events`: the recent ones, and those to come.
    Events(Reply<EventFeed>),
    /// `/v1/tables`: what the maps hold, Service by Service.
    Tables(Reply<Vec<ServiceTable>>),
}

/// What probes ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// Not every source has reported its first full list, or its programs are not attached yet.
    pub starting: bool,
    /// Hooks at which the agent's program is not in force.
    pub broken: Vec<String>,
    /// Whether load balancers may send the node something new: it is not about to be deleted (KEP-3836).
    pub node_eligible: bool,
    /// When the maps were last brought in line; `None` before the first time.
    pub last_updated: Option<Timestamp>,
}

impl Vitals {
    /// Why new connections are not served as the cluster says; `None` when they are.
    pub fn trouble(&self) -> Option<String> {
        if self.starting {
            return Some("starting: not every source has reported its first full list".to_owned());
        }
        (!self.broken.is_empty()).then(|| format!("not in force: {}", self.broken.join(", ")))
    }
}

/// Which namespace a listing is about; all when `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// The namespace.
    pub namespace: Option<String>,
}

impl Scope {
    /// Whether `namespace` is in it.
    pub fn holds(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }
}

/// A connection to explain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainQuery {
    /// The client: an address, a pod's name or `namespace/pod`; `None` for any client on the agent's node.
    pub from: Option<String>,
    /// What it dials.
    pub target: ExplainTarget,
}

/// What a client dials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExplainTarget {
    /// An address and port.
    Address {
        /// The transport protocol.
        protocol: Protocol,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// A Service by name; its first address is dialled.
    Service {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The port by name or number; `None` for its only or first one.
        port: Option<String>,
    },
}

/// Sampled events: what is remembered, and what comes.
#[derive(Debug)]
pub struct EventFeed {
    /// The last ones, oldest first.
    pub recent: Vec<Arc<Event>>,
    /// From now on.
    pub live: broadcast::Receiver<Arc<Event>>,
}
