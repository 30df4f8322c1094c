//! One Service as the maps hold it.

use super::Epoch;
use crate::model::ServiceKey;
use crate::plan::{BackendKey, DesiredPort, DesiredService, EndedCounts, Endings};
use mesh_common::address::Address;
use mesh_common::tables::{BackendId, FrontendKey, OutlierRule, Rule, ServiceId, SlotRange, TrafficRule};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A Service: the entry that counts for it, its ports, its backends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The entry of `SERVICES` that holds its count and limits.
    pub id: ServiceId,
    /// Whose it is; `None` when an earlier agent left it and no Service has claimed it.
    pub service: Option<ServiceKey>,
    /// Whether it is no Service's but holds the nodes' addresses.
    pub nodes: bool,
    /// Recognised with frontends that its Service does not have: they go, and programs that may have seen them end, before
    /// anything else changes. The epoch in which the last went.
    pub inherits: Option<Epoch>,
    /// The limit in force.
    pub max_connections: u64,
    /// The limit in force.
    pub max_connections_per_backend: u64,
    /// What it asks for beyond that.
    pub traffic: TrafficRule,
    /// When its backends are ejected.
    pub outlier: OutlierRule,
    /// Ejected backends that came back since they answered the agent.
    pub returned: u64,
    /// Connections to it that the agent ended.
    pub ended: EndedCounts,
    /// Its elements of `ADDRESSES`.
    pub addresses: Vec<Address>,
    /// Its live ports.
    pub ports: Vec<AppliedPort>,
    /// Its serving backends.
    pub backends: BTreeMap<BackendKey, AppliedBackend>,
    /// Its backends that are gone but not free yet; [`super::Applied::gone`] has the facts.
    pub gone: BTreeMap<BackendKey, BackendId>,
}

/// An entry of `SERVICES` that is a port of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedPort {
    /// The entry.
    pub id: ServiceId,
    /// What it was opened for; it names the port.
    pub dialled: Option<FrontendKey>,
    /// The elements of `FRONTENDS` that lead to it.
    pub frontends: Vec<FrontendKey>,
    /// How a slot is picked.
    pub rule: Rule,
    /// How long a client may stay away and keep its backend, nanoseconds; 0 for no affinity.
    pub affinity_timeout: u64,
    /// Where its slots lie.
    pub range: SlotRange,
    /// What its slots say.
    pub slots: Vec<BackendId>,
    /// When its connections are ended; nothing before its Service has said so.
    pub endings: Endings,
}

/// An entry of `BACKENDS` that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppliedBackend {
    /// The entry.
    pub id: BackendId,
    /// Its weight.
    pub weight: u32,
    /// How long after it has gone its sockets are ended; `None` for never.
    pub ends: Option<Duration>,
}

/// A backend whose endpoint is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The account that it belongs to.
    pub account: ServiceId,
    /// The endpoint.
    pub key: BackendKey,
    /// The epoch in which it went.
    pub since: Epoch,
    /// How long after that its sockets are ended; `None` for never.
    pub ends: Option<Duration>,
}

/// The entry of a port that was closed: connections may still name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// The account of its Service.
    pub account: ServiceId,
    /// What it was opened for.
    pub dialled: Option<FrontendKey>,
    /// The epoch in which it was closed.
    pub since: Epoch,
}

impl Account {
    /// A Service without ports.
    pub fn new(id: ServiceId, service: Option<ServiceKey>) -> Self {
        Self {
            id,
            service,
            nodes: false,
            inherits: None,
            max_connections: mesh_common::tables::UNLIMITED,
            max_connections_per_backend: mesh_common::tables::UNLIMITED,
            traffic: TrafficRule::default(),
            outlier: OutlierRule::default(),
            returned: 0,
            ended: EndedCounts::default(),
            addresses: Vec::new(),
            ports: Vec::new(),
            backends: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// A live port by its entry.
    pub fn port(&self, id: ServiceId) -> Option<&AppliedPort> {
        self.ports.iter().find(|port| port.id == id)
    }

    pub(super) fn port_mut(&mut self, id: ServiceId) -> Option<&mut AppliedPort> {
        self.ports.iter_mut().find(|port| port.id == id)
    }

    /// Whether a frontend leads to it that `desired` does not have.
    pub(super) fn has_more_than(&self, desired: &DesiredService) -> bool {
        let wanted: BTreeSet<&FrontendKey> = desired.ports.iter().flat_map(|port| &port.frontends).collect();
        self.ports.iter().flat_map(|port| &port.frontends).any(|key| !wanted.contains(key))
    }

    /// Whether it has no port, address or serving backend.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.addresses.is_empty() && self.backends.is_empty()
    }
}

impl AppliedPort {
    /// Whether clients reach `desired` through this entry, or would if it had not failed half-way.
    pub fn serves(&self, desired: &DesiredPort) -> bool {
        desired.frontends.iter().any(|key| self.frontends.contains(key) || self.dialled.as_ref() == Some(key))
    }
}
