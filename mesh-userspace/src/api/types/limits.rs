//! Limits by client and by rate, as the API gives them beside the limits on what is open.

use crate::model::Limits;
use mesh_common::tables::{Rate, TrafficRule};
use serde::{Deserialize, Serialize};

/// Limits by client and by rate, and whether limits refuse.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficLimits {
    /// Most connections at once of each client; absent for no limit.
    pub max_connections_per_client: Option<u64>,
    /// Most TCP connections at once to each backend from wherever, at its own node; absent for no limit.
    pub max_inbound_connections_per_backend: Option<u64>,
    /// New connections a second; absent for no limit.
    pub connections_per_second: Option<u64>,
    /// How many of them may come at once; absent for no limit.
    pub connection_burst: Option<u64>,
    /// New connections of each client a second; absent for no limit.
    pub connections_per_second_per_client: Option<u64>,
    /// How many of them may come at once; absent for no limit.
    pub connection_burst_per_client: Option<u64>,
    /// Most flows at once of each client, UDP sockets that are not connected; absent for no limit.
    pub max_flows_per_client: Option<u64>,
    /// After how many seconds without a datagram a flow counts no more; absent for no limit.
    pub flow_idle_seconds: Option<u64>,
    /// Whether limits count what they would refuse, and refuse nothing.
    pub observe: bool,
}

impl From<&Limits> for TrafficLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            max_connections_per_client: limits.max_connections_per_client,
            max_inbound_connections_per_backend: limits.max_inbound_connections_per_backend,
            connections_per_second: limits.rate.map(|rate| rate.per_second.into()),
            connection_burst: limits.rate.map(|rate| rate.burst.into()),
            connections_per_second_per_client: limits.client_rate.map(|rate| rate.per_second.into()),
            connection_burst_per_client: limits.client_rate.map(|rate| rate.burst.into()),
            max_flows_per_client: limits.flows.map(|flows| flows.most.into()),
            flow_idle_seconds: limits.flows.map(|flows| flows.idle_seconds.into()),
            observe: limits.observe,
        }
    }
}

impl From<&TrafficRule> for TrafficLimits {
    fn from(rule: &TrafficRule) -> Self {
        Self {
            max_connections_per_client: rule.client_limit,
            // It is no limit of the Service's here, but one of its backends at their nodes.
            max_inbound_connections_per_backend: None,
            connections_per_second: rule.rate.as_ref().map(Rate::connections),
            connection_burst: rule.rate.as_ref().map(Rate::at_once),
            connections_per_second_per_client: rule.client_rate.as_ref().map(Rate::connections),
            connection_burst_per_client: rule.client_rate.as_ref().map(Rate::at_once),
            max_flows_per_client: rule.flows.map(|flows| flows.most.into()),
            flow_idle_seconds: rule.flows.map(|flows| flows.idle / 1_000_000_000),
            observe: rule.observe,
        }
    }
}
