//! What the owner of a Service asks for besides Kubernetes' own fields.

use super::{Drain, Endpoint, Failover, Kind, Level, Lifetime, Locality, ObjectRef, Place, Preference, ServiceKey};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::SlowRule;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A `TrafficPolicy` (`mesh.dev/v1alpha1`), or Istio's `DestinationRule`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which of the two it is.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The Services that it is attached to by name.
    pub targets: Vec<ServiceKey>,
    /// The Services that it is attached to by a pattern of their names: any policy by name comes first.
    pub wildcard: Option<Wildcard>,
    /// Its limits.
    pub limits: Limits,
    /// `spec.loadBalancer.algorithm`.
    pub algorithm: Option<Algorithm>,
    /// What else `spec.loadBalancer` says.
    pub balance: Balance,
    /// When its Services' backends are ejected.
    pub outlier: Option<OutlierDetection>,
    /// What becomes of connections to removed endpoints; where a Service's annotation says it, that holds.
    pub drain: Drain,
    /// How long connections may be idle, and how old they may get.
    pub lifetime: Lifetime,
    /// Ports for which something else holds; what such a port does not say is the default, not what the policy says.
    pub ports: BTreeMap<u16, PortPolicy>,
    /// `metadata.creationTimestamp` as RFC 3339; empty when absent. The older wins a conflict.
    pub created: Arc<str>,
    /// `metadata.generation`; `None` for one that did not come from the API server.
    pub generation: Option<i64>,
}

impl Policy {
    /// A policy that is attached to nothing and asks for nothing.
    pub fn asking_nothing(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            targets: Vec::new(),
            wildcard: None,
            limits: Limits::default(),
            algorithm: None,
            balance: Balance::default(),
            outlier: None,
            drain: Drain::default(),
            lifetime: Lifetime::default(),
            ports: BTreeMap::new(),
            created: Arc::default(),
            generation: None,
        }
    }

    /// The policy as an object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The algorithm of a Service's port.
    pub fn algorithm_of(&self, port: u16) -> Option<Algorithm> {
        self.ports.get(&port).map_or(self.algorithm, |port| port.algorithm)
    }

    /// How the connections of a Service's port are shared out.
    pub fn balance_of(&self, port: u16) -> &Balance {
        self.ports.get(&port).map_or(&self.balance, |port| &port.balance)
    }

    /// How long connections through a Service's port may be idle, and how old they may get.
    pub fn lifetime_of(&self, port: u16) -> Lifetime {
        self.ports.get(&port).map_or(self.lifetime, |port| port.lifetime)
    }

    /// When the backends of a Service's port are ejected.
    pub fn outlier_of(&self, port: u16) -> Option<OutlierDetection> {
        self.outlier.filter(|_| !self.ports.contains_key(&port))
    }
}

/// Services by the end of their full names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wildcard {
    /// Their namespace; `None` for all.
    pub namespace: Option<Arc<str>>,
    /// What `name.namespace.svc.cluster.local` ends with; the longer one comes first.
    pub suffix: Arc<str>,
}

/// What holds for one port of a Service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortPolicy {
    /// Its algorithm.
    pub algorithm: Option<Algorithm>,
    /// How its connections are shared out; without slow start, which is the whole Service's.
    pub balance: Balance,
    /// How long its connections may be idle, and how old they may get.
    pub lifetime: Lifetime,
}

/// Limits of one Service, on each node by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `spec.limits.maxConnections`, 0 or more; `None` for no limit.
    pub max_connections: Option<u64>,
    /// `spec.limits.maxConnectionsPerBackend`, 0 or more; `None` for no limit.
    pub max_connections_per_backend: Option<u64>,
    /// `spec.limits.maxConnectionsPerClient`, 0 or more; `None` for no limit.
    pub max_connections_per_client: Option<u64>,
    /// `spec.limits.maxInboundConnectionsPerBackend`, 0 or more, at the backend's own node; `None` for no limit.
    pub max_inbound_connections_per_backend: Option<u64>,
    /// `spec.limits.connectionsPerSecond` and `connectionBurst`.
    pub rate: Option<Rate>,
    /// `spec.limits.connectionsPerSecondPerClient` and `connectionBurstPerClient`.
    pub client_rate: Option<Rate>,
    /// `spec.limits.maxFlowsPerClient` and `flowIdleSeconds`.
    pub flows: Option<FlowLimit>,
    /// `spec.limits.mode: Observe`: limits count what they would refuse, and refuse nothing.
    pub observe: bool,
}

/// Most flows at once of each client: UDP sockets that are not connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowLimit {
    /// So many, 0 to [`mesh_common::flows::MOST`].
    pub most: u32,
    /// After which time without a datagram a flow counts no more, seconds, 1 or more.
    pub idle_seconds: u32,
}

/// A rate of new connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Connections a second, 1 or more.
    pub per_second: u32,
    /// Connections at once after a pause, 1 or more.
    pub burst: u32,
}

/// When backends of one Service are ejected, and for how long, on each node by itself. Times are milliseconds, 1 or more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutlierDetection {
    /// How many connects in a row must fail; 0 for any number.
    pub connects: u8,
    /// How many connections in a row must be reset soon or go silent; 0 for any number.
    pub resets: u8,
    /// How much slower than all a backend's answers must be.
    pub slow: SlowRule,
    /// How long the first ejection lasts.
    pub base_ejection: u64,
    /// How long an ejection lasts at most.
    pub max_ejection: u64,
    /// How long a backend serves for one earlier ejection to be forgotten.
    pub interval: u64,
    /// Most backends of a port ejected at once, 0 to 100 per cent of them.
    pub max_ejection_percent: u32,
    /// While fewer backends of a port than this, 0 to 100 per cent, are not ejected, ejection is ignored.
    pub min_health_percent: u32,
    /// Whether the agent asks ejected backends if they take connections again.
    pub probe: Option<Probe>,
}

/// How ejected backends are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// How often each, 1 second or more.
    pub interval: Duration,
    /// How long a connect may take, 1 second or more.
    pub timeout: Duration,
}

/// How the connections of one Service are shared out among its endpoints, besides the algorithm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// `hash`: what Maglev hashes.
    pub hash: HashBy,
    /// The least number of positions of Maglev's table; 0 for as many as the endpoints ask for.
    pub table_size: u32,
    /// Which endpoints come first: those that have all of this in common with the node, then those that have all but the
    /// last, and so on; what is farther takes nothing. `preferSameZone`, or Istio's order of failover. Empty for no order.
    pub prefer: Vec<Preference>,
    /// Of the endpoints that have nothing of that in common with the node, those in this region come before the others. The
    /// first entry from the node's region holds.
    pub failover: Vec<Failover>,
    /// `weights`: the first that matches an endpoint gives its weight; 1 where none does.
    pub weights: Vec<Weight>,
    /// `split`: of all connections, which part goes to which endpoints. Empty for no split.
    pub split: Vec<Part>,
    /// `slowStart`.
    pub slow_start: Option<SlowStart>,
}

impl Balance {
    /// Whether it goes by where nodes are.
    pub fn looks_at_places(&self) -> bool {
        let mut named =
            self.weights.iter().map(|weight| &weight.which).chain(self.split.iter().map(|part| &part.which));
        !self.prefer.is_empty()
            || self.split.iter().any(|part| !part.from.is_everywhere())
            || named.any(|which| matches!(which, Which::At(_)))
    }

    /// Whether it names a region by which alone places are told apart.
    pub fn names_regions(&self) -> bool {
        let is_region = |place: &Locality| !place.region.is_empty() && place.zone.is_empty();
        let to = |which: &Which| matches!(which, Which::At(place) if is_region(place));
        !self.failover.is_empty() || self.split.iter().any(|part| is_region(&part.from) || to(&part.which))
    }

    /// Whether it prefers regions to others.
    pub fn prefers_regions(&self) -> bool {
        self.prefer.iter().any(|step| step.level == Level::Region)
    }
}

/// Which endpoints a weight or a part is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    /// Those whose pod's name begins so: the pods of a Deployment are named after it.
    PodNamePrefix(Arc<str>),
    /// Those on this node.
    NodeName(Arc<str>),
    /// Those in this place.
    At(Locality),
    /// All that no entry before it names.
    Any,
}

/// The weight of some endpoints, each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weight {
    /// Which.
    pub which: Which,
    /// 0 to 1,000; of 0 they take connections only when no other endpoint is there.
    pub weight: u32,
}

/// The part of all connections that goes to some endpoints, all together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The entry that it comes from: only parts of the first entry that has one for the clients' place hold.
    pub entry: u32,
    /// Holds for clients in this place only.
    pub from: Locality,
    /// Which.
    pub which: Which,
    /// 0 to 100.
    pub percent: u32,
}

/// `slowStart`: a new endpoint takes less at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlowStart {
    /// For how long, seconds, 1 or more.
    pub window_seconds: u32,
    /// The least part of its share that it takes, 1 to 100 per cent.
    pub min_percent: u32,
    /// How the share rises, in hundredths: 100 for a straight line, more for faster at first.
    pub aggression: u32,
}

impl Which {
    /// Whether an endpoint at this place is one of them.
    pub fn holds(&self, endpoint: &Endpoint, place: Place<'_>) -> bool {
        match self {
            Self::PodNamePrefix(prefix) => endpoint.pod.starts_with(&**prefix),
            Self::NodeName(node) => endpoint.node == *node,
            Self::At(locality) => locality.holds(place),
            Self::Any => true,
        }
    }
}
