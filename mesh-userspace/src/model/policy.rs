//! What the owner of a Service asks for besides Kubernetes' own fields.

use super::{Endpoint, ServiceKey};
use mesh_common::select::{Algorithm, HashBy};
use std::sync::Arc;

/// A `TrafficPolicy` (`mesh.dev/v1alpha1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The Services that it is attached to, all in its own namespace.
    pub targets: Vec<ServiceKey>,
    /// Its limits.
    pub limits: Limits,
    /// `spec.loadBalancer.algorithm`.
    pub algorithm: Option<Algorithm>,
    /// What else `spec.loadBalancer` says.
    pub balance: Balance,
    /// `metadata.creationTimestamp` as RFC 3339; empty when absent. The older wins a conflict.
    pub created: Arc<str>,
}

/// Limits of one Service, on each node by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `spec.limits.maxConnections`, 0 or more; `None` for no limit.
    pub max_connections: Option<u64>,
    /// `spec.limits.maxConnectionsPerBackend`, 0 or more; `None` for no limit.
    pub max_connections_per_backend: Option<u64>,
}

/// How the connections of one Service are shared out among its endpoints, besides the algorithm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// `hash`: what Maglev hashes.
    pub hash: HashBy,
    /// `preferSameZone`: while an endpoint in the node's zone is ready, those in other zones take nothing.
    pub prefer_same_zone: bool,
    /// `weights`: the first that matches an endpoint gives its weight; 1 where none does.
    pub weights: Vec<Weight>,
    /// `split`: of all connections, which part goes to which endpoints. Empty for no split.
    pub split: Vec<Part>,
    /// `slowStart`.
    pub slow_start: Option<SlowStart>,
}

/// Which endpoints a weight or a part is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    /// Those whose pod's name begins so: the pods of a Deployment are named after it.
    PodNamePrefix(Arc<str>),
    /// Those on this node.
    NodeName(Arc<str>),
    /// Those in this zone.
    Zone(Arc<str>),
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
    /// Holds for clients in this zone only; `None` for all.
    pub from_zone: Option<Arc<str>>,
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
    /// Whether an endpoint is one of them.
    pub fn holds(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::PodNamePrefix(prefix) => endpoint.pod.starts_with(&**prefix),
            Self::NodeName(node) => endpoint.node == *node,
            Self::Zone(zone) => endpoint.zone == *zone,
        }
    }
}
