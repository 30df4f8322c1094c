//! What load balancers outside the cluster ask of this node, Service by Service: whether it has endpoints (SEMANTICS 17).

use super::ClusterState;
use crate::model::ServiceKey;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What is answered at each port: the Service, and how many ready endpoints it has on this node.
pub type HealthChecks = BTreeMap<u16, (ServiceKey, usize)>;

impl ClusterState {
    /// Notes whether a Service has such a port.
    pub(super) fn note_health_check(&mut self, key: &ServiceKey) {
        let service = self.entries.get(key).and_then(|entry| entry.service.as_ref());
        if service.is_some_and(|known| known.object.health_check_port.is_some()) {
            self.health_checked.insert(key.clone());
        } else {
            self.health_checks_changed |= self.health_checked.remove(key);
        }
    }

    /// What is answered now, if that may have changed since the last call. Of two Services that want one port the first by name
    /// has it.
    pub fn take_health_checks(&mut self) -> Option<HealthChecks> {
        std::mem::take(&mut self.health_checks_changed).then(|| self.health_checks())
    }

    fn health_checks(&self) -> HealthChecks {
        let mut checks = HealthChecks::new();
        for key in &self.health_checked {
            let Some(entry) = self.entries.get(key) else { continue };
            let Some(port) = entry.service.as_ref().and_then(|known| known.object.health_check_port) else { continue };
            let endpoints = entry.slices.iter().flat_map(|slice| &slice.endpoints);
            let ready_here = endpoints.filter(|endpoint| endpoint.ready && endpoint.node == self.node_name);
            // As kube-proxy counts: an endpoint of several ports is one.
            let addresses: BTreeSet<IpAddr> = ready_here.map(|endpoint| endpoint.address).collect();
            checks.entry(port).or_insert_with(|| (key.clone(), addresses.len()));
        }
        checks
    }
}
