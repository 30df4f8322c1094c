//! What the maps hold of a Service, without ids: what `mesh plan` compares.

use super::{Endings, ServiceName, TrafficLimits};
use crate::model::Limits;
use crate::plan::applied::Account;
use crate::plan::{self, BackendKey, DesiredService};
use mesh_common::address::{Address, Port};
use mesh_common::select::Algorithm;
use mesh_common::tables::{FrontendKey, TrafficRule, UNLIMITED};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// One element of `GET /v1/tables`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTable {
    /// The Service.
    pub service: ServiceName,
    /// Its addresses: a port that is not listed on them is refused.
    pub addresses: Vec<IpAddr>,
    /// Each port of each family, sorted by frontend.
    pub ports: Vec<PortTable>,
    /// Backends of no port's that go on with the connections that they have.
    pub kept: Vec<SocketAddr>,
    /// Most connections at once; absent for no limit.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend; absent for no limit.
    pub max_connections_per_backend: Option<u64>,
    /// Limits by client and by rate.
    #[serde(flatten)]
    pub traffic: TrafficLimits,
    /// What is open now; absent for what is not in the maps.
    pub load: Option<Load>,
}

/// Connections of one Service that are open now.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// How many each client has, the most first. A client is a network namespace.
    pub clients: Vec<u64>,
    /// The TCP backends on this node, those with most connections first.
    pub backends: Vec<BackendLoad>,
}

/// Connections to one backend on this node that are open now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendLoad {
    /// How many.
    pub open: u64,
    /// Whether all are counted, from wherever, as while it has a limit; else only those through Services from this node.
    pub counted: bool,
}

/// One port of one family.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortTable {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// What clients dial.
    pub frontends: Vec<SocketAddr>,
    /// How a backend is picked.
    pub algorithm: String,
    /// How many seconds a client may stay away and keep its backend; absent for no affinity.
    pub affinity_timeout_seconds: Option<u64>,
    /// Backends that take new connections.
    pub backends: Vec<SocketAddr>,
    /// Positions of SLOTS: one for each backend, or more by weight or for Maglev.
    pub slots: usize,
    /// When open connections are ended.
    #[serde(flatten)]
    pub endings: Endings,
}

impl ServiceTable {
    /// What the maps should hold of a Service.
    pub fn desired(service: ServiceName, desired: &DesiredService) -> Self {
        let ports = desired
            .ports
            .iter()
            .map(|port| (&port.frontends, port.algorithm, port.affinity_timeout, port.slots.clone(), port.endings));
        let kept = desired.ports.iter().flat_map(|port| port.kept.iter().copied()).collect();
        let limits = [desired.max_connections, desired.max_connections_per_backend];
        Self::new(service, &desired.addresses, ports, kept, (limits, &desired.traffic))
    }

    /// What the maps hold of a Service, and what is open to it.
    pub fn applied(service: ServiceName, account: &Account, load: Load) -> Self {
        let keys: HashMap<_, _> = account.backends.iter().map(|(key, backend)| (backend.id, *key)).collect();
        let ports = account.ports.iter().map(|port| {
            let slots = port.slots.iter().filter_map(|id| keys.get(id).copied()).collect();
            (&port.frontends, port.rule.algorithm, port.affinity_timeout, slots, port.endings)
        });
        let kept = account.backends.keys().copied().collect();
        let limits = [account.max_connections, account.max_connections_per_backend];
        Self { load: Some(load), ..Self::new(service, &account.addresses, ports, kept, (limits, &account.traffic)) }
    }

    /// With what its policy asks of its backends' own nodes, which is in no map of the Service's.
    #[must_use]
    pub fn with_inbound(mut self, limits: Option<Limits>) -> Self {
        self.traffic.max_inbound_connections_per_backend =
            limits.and_then(|limits| limits.max_inbound_connections_per_backend);
        self
    }

    fn new<'a>(
        service: ServiceName,
        addresses: &[Address],
        ports: impl Iterator<Item = (&'a Vec<FrontendKey>, Algorithm, u64, Vec<BackendKey>, plan::Endings)>,
        mut kept: BTreeSet<BackendKey>,
        (limits, traffic): ([u64; 2], &TrafficRule),
    ) -> Self {
        let mut ports: Vec<PortTable> = ports
            .map(|(frontends, algorithm, affinity_timeout, slots, endings)| {
                for key in &slots {
                    kept.remove(key);
                }
                PortTable {
                    protocol: frontends.first().map(|key| key.protocol().to_string()).unwrap_or_default(),
                    frontends: sorted(frontends.iter().map(|key| socket(key.address, key.port))),
                    algorithm: algorithm.name().to_owned(),
                    affinity_timeout_seconds: (affinity_timeout != 0).then_some(affinity_timeout / 1_000_000_000),
                    slots: slots.len(),
                    backends: distinct(slots.iter().map(|key| socket(key.address, key.port))),
                    endings: endings.into(),
                }
            })
            .collect();
        ports.sort_by(|a, b| (&a.frontends, &a.protocol).cmp(&(&b.frontends, &b.protocol)));
        let [max_connections, max_connections_per_backend] = limits.map(|limit| (limit != UNLIMITED).then_some(limit));
        Self {
            service,
            addresses: sorted(addresses.iter().copied().map(IpAddr::from)),
            ports,
            kept: sorted(kept.iter().map(|key| socket(key.address, key.port))),
            max_connections,
            max_connections_per_backend,
            traffic: traffic.into(),
            load: None,
        }
    }
}

fn socket(address: Address, port: Port) -> SocketAddr {
    SocketAddr::new(address.into(), port.host())
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<T>>().into_iter().collect()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}
