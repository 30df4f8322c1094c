//! A backend of a Service, with the verdict on it.

use super::{InboundCounts, ServiceName, ServicePort};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One element of `GET /v1/backends`: an endpoint address as the target of one Service port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// The Service.
    pub service: ServiceName,
    /// The Service's port; absent for a backend that is gone and no longer listed.
    pub service_port: Option<ServicePort>,
    /// The endpoint's address.
    pub address: IpAddr,
    /// The endpoint's port.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The pod; empty when the endpoint names none.
    pub pod: String,
    /// The node; empty when the endpoint names none.
    pub node: String,
    /// The zone; empty when the endpoint names none.
    pub zone: String,
    /// Whether it takes new connections.
    pub state: BackendState,
    /// Why it is in or out, in words.
    pub why: String,
    /// Its weight against the port's other backends; 0 when it takes no new connections.
    pub weight: u32,
    /// Connections open now from this node.
    pub active: u64,
    /// Most connections at once from this node; absent for no limit.
    pub max_connections: Option<u64>,
    /// What is counted at its own interface; absent where no limit holds there, and for backends of other nodes.
    pub inbound: Option<InboundCounts>,
}

/// Whether a backend takes connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendState {
    /// It takes new connections.
    Eligible,
    /// It failed too often in a row: it takes no new connections for a time.
    Ejected,
    /// It takes no new connections and goes on with those that it has.
    Kept,
    /// It takes no connections: not ready, or not serving.
    Excluded,
    /// Its endpoint is gone; connections to it are counted until they end.
    Gone,
}

impl BackendState {
    /// The word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Ejected => "ejected",
            Self::Kept => "kept",
            Self::Excluded => "excluded",
            Self::Gone => "gone",
        }
    }
}
