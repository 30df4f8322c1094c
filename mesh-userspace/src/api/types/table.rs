//! What the maps hold of a Service, without ids: what `mesh plan` compares.

use super::ServiceName;
use crate::plan::{BackendKey, DesiredService};
use mesh_common::address::Address;
use mesh_common::tables::UNLIMITED;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// One element of `GET /v1/tables`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTable {
    /// The Service.
    pub service: ServiceName,
    /// Its addresses: a port that is not listed on them is refused.
    pub addresses: Vec<IpAddr>,
    /// Each port of each family.
    pub ports: Vec<PortTable>,
    /// Most connections at once; absent for no limit.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend; absent for no limit.
    pub max_connections_per_backend: Option<u64>,
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
    /// Backends that take new connections.
    pub backends: Vec<SocketAddr>,
    /// Backends that go on with the connections that they have.
    pub kept: Vec<SocketAddr>,
    /// Whether sockets connected to a backend that is gone are ended at once.
    pub end_gone: bool,
}

impl ServiceTable {
    /// The table of one Service.
    pub fn new(service: ServiceName, desired: &DesiredService) -> Self {
        let limit = |limit| (limit != UNLIMITED).then_some(limit);
        Self {
            service,
            addresses: desired.addresses.iter().copied().map(IpAddr::from).collect(),
            ports: desired
                .ports
                .iter()
                .map(|port| PortTable {
                    protocol: port.frontends.first().map(|key| key.protocol().to_string()).unwrap_or_default(),
                    frontends: port.frontends.iter().map(|key| socket(key.address, key.port.host())).collect(),
                    algorithm: port.algorithm.name().to_owned(),
                    backends: port.slots.iter().map(backend).collect(),
                    kept: port.kept.iter().map(backend).collect(),
                    end_gone: port.end_gone,
                })
                .collect(),
            max_connections: limit(desired.max_connections),
            max_connections_per_backend: limit(desired.max_connections_per_backend),
        }
    }
}

fn socket(address: Address, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn backend(key: &BackendKey) -> SocketAddr {
    socket(key.address, key.port.host())
}
