//! Where nodes are, whose Services that touches, and what is not known of it.

use super::ClusterState;
use super::entry::Entry;
use super::policies::KnownPolicy;
use crate::model::{
    Balance, Endpoint, Finding, Level, Locality, NodePorts, ObjectRef, Place, Policy, ServiceKey, Severity,
};
use crate::plan::BackendKey;
use crate::plan::locality::place;
use std::collections::BTreeSet;
use std::sync::Arc;

impl ClusterState {
    /// Where an endpoint is.
    pub fn place<'a>(&'a self, endpoint: &'a Endpoint) -> Place<'a> {
        place(endpoint, &self.localities)
    }

    /// Notes where a node is; nowhere for one that is gone. What goes by it is compiled anew.
    pub(super) fn note_locality(&mut self, node: &Arc<str>, locality: &Locality) {
        let is_own = **node == *self.node_name;
        let before = if locality.is_everywhere() {
            self.localities.remove(node)
        } else {
            self.localities.insert(node.clone(), locality.clone())
        };
        if before.unwrap_or_default() == *locality {
            return;
        }
        // Before the first full list everything is to be compiled anyway.
        if !self.is_synced() {
            return;
        }
        let mut touched = Vec::new();
        if is_own {
            let is_hinted = |entry: &Entry| endpoints(entry).any(|endpoint| endpoint.hints.is_some());
            touched.extend(self.entries.iter().filter(|(_, entry)| is_hinted(entry)).map(|(key, _)| key.clone()));
        }
        for known in self.policies.values().filter(|known| balances(&known.object).any(Balance::looks_at_places)) {
            let has = |key: &&ServiceKey| {
                let entry = self.entries.get(*key);
                is_own || entry.is_some_and(|entry| endpoints(entry).any(|endpoint| endpoint.node == *node))
            };
            touched.extend(known.attached.iter().filter(has).cloned());
        }
        self.dirty.extend(touched);
    }

    /// The Services whose backends follow an order and are ejected: farther ones take over where the nearest are out.
    pub fn failing_over(&self) -> BTreeSet<ServiceKey> {
        let ordered = self.policies.values().filter(|known| has_order(known));
        ordered.flat_map(|known| &known.attached).filter(|service| self.fails_over(service)).cloned().collect()
    }

    /// Whether it is one of them.
    pub fn fails_over(&self, service: &ServiceKey) -> bool {
        self.service_policy(service).and_then(|own| self.policies.get(own)).is_some_and(has_order)
    }

    /// The Services of which backends were ejected when that was last looked at.
    pub fn with_ejected(&self) -> BTreeSet<ServiceKey> {
        self.ejected.keys().cloned().collect()
    }

    /// Notes which backends of a Service are ejected now; whether that is another answer.
    pub fn note_ejected(&mut self, service: &ServiceKey, ejected: BTreeSet<BackendKey>) -> bool {
        let before = self.ejected.get(service);
        if before.map_or(ejected.is_empty(), |before| *before == ejected) {
            return false;
        }
        if ejected.is_empty() {
            self.ejected.remove(service);
        } else {
            self.ejected.insert(service.clone(), ejected);
        }
        if self.entries.get(service).is_some_and(|entry| entry.service.is_some()) {
            self.dirty.insert(service.clone());
        }
        true
    }

    /// Policies that go by regions where some are not known.
    pub(super) fn region_findings(&self, findings: &mut Vec<Finding>) {
        for (own, known) in &self.policies {
            let names = balances(&known.object).any(Balance::names_regions);
            if !names && !balances(&known.object).any(Balance::prefers_regions) {
                continue;
            }
            let in_force = known.attached.iter().filter(|service| self.service_policy(service) == Some(own));
            let unknown: Vec<Unknown> = in_force.filter_map(|service| self.unknown_regions(service)).collect();
            // Where nobody has a region, none comes before another.
            let any = self.localities.values().any(|locality| !locality.region.is_empty());
            if !names && !any {
                continue;
            }
            if self.here().region.is_empty() {
                let message = format!("the region of node {}, where the agent runs, is not known", self.node_name);
                findings.push(finding(own, known, message, &self.advice(&self.node_name)));
            }
            if let Some(first) = unknown.first() {
                let number: usize = unknown.iter().map(|unknown| unknown.number).sum();
                let of = unknown.iter().map(|unknown| unknown.of).sum::<usize>();
                let message = format!(
                    "the region of {number} of {of} endpoints is not known, and they are taken to be in none: {} of Service {}",
                    first.example.address, first.service
                );
                findings.push(finding(own, known, message, &self.advice(&first.example.node)));
            }
        }
    }

    /// The endpoints of a Service whose region is not known, if there are any.
    fn unknown_regions<'a>(&'a self, service: &'a ServiceKey) -> Option<Unknown<'a>> {
        let entry = self.entries.get(service)?;
        let mut unknown = endpoints(entry).filter(|endpoint| self.place(endpoint).region.is_empty());
        let example = unknown.next()?;
        Some(Unknown { service, example, number: 1 + unknown.count(), of: endpoints(entry).count() })
    }

    /// How the region of what is on a node becomes known.
    fn advice(&self, node: &str) -> String {
        let label = Level::Region.label();
        if node.is_empty() {
            return "write nodeName into the endpoint".to_owned();
        }
        if self.nodes.served != NodePorts::AllNodes && *node != *self.node_name {
            return format!("the agent follows its own Node only: start it with --node-ports all-nodes (Node {node})");
        }
        format!("see that there is a Node {node}, with the label {label}")
    }
}

/// Endpoints of one Service whose region is not known.
struct Unknown<'a> {
    service: &'a ServiceKey,
    /// The first of them.
    example: &'a Endpoint,
    number: usize,
    of: usize,
}

fn endpoints(entry: &Entry) -> impl Iterator<Item = &Endpoint> {
    entry.slices.iter().flat_map(|slice| &slice.endpoints)
}

/// What a policy says of sharing out: for the whole Service, and for its ports.
fn balances(policy: &Policy) -> impl Iterator<Item = &Balance> {
    std::iter::once(&policy.balance).chain(policy.ports.values().map(|port| &port.balance))
}

/// Whether backends follow an order and are ejected.
fn has_order(known: &KnownPolicy) -> bool {
    known.object.outlier.is_some() && balances(&known.object).any(|balance| !balance.prefer.is_empty())
}

fn finding(own: &ObjectRef, known: &KnownPolicy, message: String, action: &str) -> Finding {
    let port = "spec.trafficPolicy.portLevelSettings";
    let asks = |balance: &Balance| balance.names_regions() || balance.prefers_regions();
    let field = if asks(&known.object.balance) { "spec.trafficPolicy.loadBalancer.localityLbSetting" } else { port };
    Finding {
        severity: Severity::Unresolved,
        origin: known.origin.clone(),
        object: Some(own.clone()),
        field: field.into(),
        message: message.into(),
        action: action.into(),
    }
}

#[cfg(test)]
#[path = "localities_tests.rs"]
mod tests;
