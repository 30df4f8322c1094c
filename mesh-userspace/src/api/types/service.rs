//! A Service as the agent serves it.

use super::{Backend, Endings, Finding, TrafficLimits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// A Service by namespace and name; prints as `shop/cart`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One element of `GET /v1/services`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Whether the maps are as the manifests say.
    pub state: ServiceState,
    /// Why the state is not `served`; empty otherwise.
    pub message: String,
    /// Its addresses.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses of load balancers and external IPs at which clients in the cluster are served.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<IpAddr>,
    /// The ports that clients dial.
    pub ports: Vec<ServicePort>,
    /// Its endpoints, counted over all ports.
    pub backends: BackendCounts,
    /// Connections open now.
    pub active: u64,
    /// Connections admitted since the Service came into the maps.
    pub opened: u64,
    /// Connections refused since the Service came into the maps.
    pub refused: u64,
    /// Most connections at once on this node; absent for no limit.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend from this node; absent for no limit.
    pub max_connections_per_backend: Option<u64>,
    /// Limits by client and by rate.
    #[serde(flatten)]
    pub traffic: TrafficLimits,
    /// When open connections are ended.
    #[serde(flatten)]
    pub endings: Endings,
    /// The load-balancing algorithm.
    pub algorithm: String,
    /// What Maglev goes by: `Client` or `ClientAndPort`; absent for another algorithm.
    pub hash: Option<String>,
    /// `sessionAffinity: ClientIP`: how many seconds a client may stay away and keep its backend; absent for no affinity.
    pub affinity_timeout_seconds: Option<u64>,
    /// The policy in force, with its namespace where that is not the Service's; absent for none.
    pub policy: Option<String>,
    /// Its kind: `TrafficPolicy` or `DestinationRule`; absent for none.
    pub policy_kind: Option<String>,
}

impl Service {
    /// Its namespace and name.
    pub fn service_name(&self) -> ServiceName {
        ServiceName { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// How a Service is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// The maps are as the manifests say.
    Served,
    /// Left alone by rule: headless, `ExternalName`, another proxy's.
    Ignored,
    /// Writes are under way.
    Pending,
    /// A write failed and is tried again; what was served before goes on.
    Failed,
}

impl ServiceState {
    /// The word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Ignored => "ignored",
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}

/// A port that clients dial; prints as `80/TCP`, as kubectl does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// The port's name; empty when it has none.
    pub name: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The number.
    pub port: u16,
    /// The number at nodes' addresses; absent for none.
    pub node_port: Option<u16>,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Endpoints of a Service, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendCounts {
    /// Take new connections.
    pub eligible: u64,
    /// All that the endpoint slices list.
    pub listed: u64,
}

/// `GET /v1/services/{namespace}/{name}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetail {
    /// What the listing says.
    #[serde(flatten)]
    pub service: Service,
    /// `spec.internalTrafficPolicy`.
    pub internal_traffic_policy: String,
    /// `spec.trafficDistribution`; empty when not set.
    pub traffic_distribution: String,
    /// Choices and refusals since the Service came into the maps, by the name of the reason.
    pub reasons: BTreeMap<String, u64>,
    /// Ejected backends that a health check brought back since the agent started.
    pub returned: u64,
    /// Connections that the agent ended since it started, by the name of the reason.
    pub ended: BTreeMap<String, u64>,
    /// Every endpoint of every port, with its verdict.
    pub endpoints: Vec<Backend>,
    /// What is wrong with the Service or with what is attached to it.
    pub findings: Vec<Finding>,
}
