//! What the maps should say of one Service, without ids: ids belong to what is applied.

use super::Endings;
use crate::model::Probe;
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::{FrontendKey, OutlierRule, TrafficRule, UNLIMITED};
use std::collections::BTreeMap;
use std::fmt;

/// Everything that the maps should hold for one Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredService {
    /// The Service's addresses: a port that is not listed on them is refused.
    pub addresses: Vec<Address>,
    /// Whether the addresses are the nodes' and no Service's: what is not a `NodePort` there is left alone.
    pub nodes: bool,
    /// Each port of each family.
    pub ports: Vec<DesiredPort>,
    /// Most connections at once; [`UNLIMITED`] for none.
    pub max_connections: u64,
    /// Most connections at once to each backend; [`UNLIMITED`] for none.
    pub max_connections_per_backend: u64,
    /// What is asked for beyond that.
    pub traffic: TrafficRule,
    /// When its backends are ejected; the default for never.
    pub outlier: OutlierRule,
    /// How its ejected backends are asked whether they are back; the agent keeps it, not the maps.
    pub probe: Option<Probe>,
    /// Weights of backends where a comparison of loads needs them; 1 for the others.
    pub weights: BTreeMap<BackendKey, u32>,
}

/// A Service of which nothing is asked: no address, no limit.
impl Default for DesiredService {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            nodes: false,
            ports: Vec::new(),
            max_connections: UNLIMITED,
            max_connections_per_backend: UNLIMITED,
            traffic: TrafficRule::default(),
            outlier: OutlierRule::default(),
            probe: None,
            weights: BTreeMap::new(),
        }
    }
}

/// One port of one family: one entry of `SERVICES`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredPort {
    /// What clients dial. One ClusterIP has one; a Service with more addresses of a family may have more.
    pub frontends: Vec<FrontendKey>,
    /// Whether only clients in `loadBalancerSourceRanges` may come in.
    pub fenced: bool,
    /// How a slot is picked.
    pub algorithm: Algorithm,
    /// What Maglev hashes.
    pub hash: HashBy,
    /// Whether its connections are judged, and its backends ejected as [`DesiredService::outlier`] says.
    pub outlier: bool,
    /// How long a client may stay away and keep its backend, nanoseconds; 0 for no affinity.
    pub affinity_timeout: u64,
    /// What each slot says: each eligible backend once, sorted; by weight several times, evenly mixed; or Maglev's table.
    /// Empty refuses.
    pub slots: Vec<BackendKey>,
    /// Backends that take no new connections but go on with what they have (serving while terminating, another zone's...):
    /// every serving endpoint that is not in `slots`. Sorted, without duplicates.
    pub kept: Vec<BackendKey>,
    /// When its connections are ended.
    pub endings: Endings,
}

/// An endpoint address, port and protocol: what identifies a backend within its Service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BackendKey {
    /// The endpoint's address.
    pub address: Address,
    /// The endpoint's port.
    pub port: Port,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FrontendKey::new(self.address, self.port, self.protocol).fmt(f)
    }
}
