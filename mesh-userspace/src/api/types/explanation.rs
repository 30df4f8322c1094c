//! What becomes of a connection that is not yet made.

use super::{ServiceName, ServicePort, TrafficLimits};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// `GET /v1/explain`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What the client dials.
    pub target: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The client, when one was named.
    pub client: Option<Client>,
    /// The node that decides: the agent's.
    pub node: String,
    /// That node's zone; empty when not known.
    pub zone: String,
    /// That node's region; empty when not known.
    pub region: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The stable name of the reason of a refusal; absent otherwise.
    pub reason: Option<String>,
    /// The outcome in one sentence.
    pub summary: String,
    /// The Service that the address belongs to; absent when it is no Service's.
    pub service: Option<ServiceName>,
    /// The Service's ports.
    pub ports: Vec<ServicePort>,
    /// The rule; absent when no Service's port is hit.
    pub rule: Option<Rule>,
    /// Every endpoint of the port, in or out.
    pub backends: Vec<Candidate>,
    /// The likely choice, in words; empty when nothing is chosen.
    pub likely: String,
    /// What else a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A backend takes it.
    Balanced,
    /// It is refused; `reason` says why.
    Refused,
    /// It is none of mesh's business.
    Untouched,
}

impl Outcome {
    /// The word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Refused => "refused",
            Self::Untouched => "untouched",
        }
    }
}

/// The client of an explanation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// As it was asked for.
    pub asked: String,
    /// Its address; absent when it is not known.
    pub address: Option<IpAddr>,
    /// Its pod; empty when it is not known.
    pub pod: String,
    /// Its node; empty when it is not known.
    pub node: String,
    /// Its zone; empty when it is not known.
    pub zone: String,
}

/// By what rule a backend is chosen, and within what limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
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
    /// Among which endpoints it chooses: `cluster`, `local`, `same-node` or `same-zone`.
    pub scope: String,
    /// `spec.internalTrafficPolicy`.
    pub internal_traffic_policy: String,
    /// `spec.trafficDistribution`; empty when not set.
    pub traffic_distribution: String,
    /// Connections of the Service that are open now on this node.
    pub active: u64,
    /// Most connections at once; absent for no limit.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend; absent for no limit.
    pub max_connections_per_backend: Option<u64>,
    /// Limits by client and by rate.
    #[serde(flatten)]
    pub traffic: TrafficLimits,
}

/// An endpoint of the port that is dialled.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The endpoint's address.
    pub address: IpAddr,
    /// The endpoint's port.
    pub port: u16,
    /// The pod; empty when the endpoint names none.
    pub pod: String,
    /// The node; empty when the endpoint names none.
    pub node: String,
    /// The zone; empty when the endpoint names none.
    pub zone: String,
    /// The region of that node; empty when it is not known.
    pub region: String,
    /// Whether it can be chosen.
    #[serde(rename = "in")]
    pub is_in: bool,
    /// Its weight against the others; 0 when it takes nothing.
    pub weight: u32,
    /// Why, in words.
    pub why: String,
    /// Connections open now from this node.
    pub active: u64,
    /// The probability with which the next connection goes there, 0 to 1.
    pub probability: f64,
}
