//! A policy, and where it is in force.

use super::{Endings, Finding, ServiceName, TrafficLimits};
use serde::{Deserialize, Serialize};

/// One element of `GET /v1/policies`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `TrafficPolicy` or `DestinationRule`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The file, relative to the manifest directory; absent when it did not come from one.
    pub file: Option<String>,
    /// What the names of the Services that it is attached to end with; absent when it names each.
    pub wildcard: Option<String>,
    /// The Services that it is attached to.
    pub services: Vec<ServiceName>,
    /// Those of them that follow it.
    pub in_force: Vec<ServiceName>,
    /// Most connections at once to each Service on this node; absent for no limit.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend from this node; absent for no limit.
    pub max_connections_per_backend: Option<u64>,
    /// Limits by client and by rate.
    #[serde(flatten)]
    pub traffic: TrafficLimits,
    /// The load-balancing algorithm; absent when it does not say.
    pub algorithm: Option<String>,
    /// When open connections are ended.
    #[serde(flatten)]
    pub endings: Endings,
    /// How many findings there are about it.
    pub findings: u64,
}

/// One element of `GET /v1/policies/{namespace}/{name}`: a policy in detail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDetail {
    /// What the listing says.
    #[serde(flatten)]
    pub policy: Policy,
    /// Ports for which something else holds.
    pub port_policies: Vec<PortPolicy>,
    /// Everything that is wrong with it.
    pub policy_findings: Vec<Finding>,
}

/// What a policy says of one port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortPolicy {
    /// The Service's port.
    pub port: u16,
    /// The load-balancing algorithm; absent for the default.
    pub algorithm: Option<String>,
    /// After how many seconds without data a TCP connection is ended; absent for never.
    pub idle_timeout_seconds: Option<u64>,
    /// How many seconds after connect() a TCP connection is ended; absent for never.
    pub max_duration_seconds: Option<u64>,
}
