//! Nodes' addresses, and the ports at them: `NodePort`s (SEMANTICS 12).
//!
//! A port is one element of the maps for each family, however many nodes there are. The addresses hang together under
//! [`ServiceKey::nodes`], and are in the maps while any Service has a `NodePort`.

use super::ClusterState;
use super::entry::KnownService;
use crate::model::{Finding, NodePorts, Service, ServiceKey, Severity};
use crate::plan::DesiredService;
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::tables::FrontendKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// What nodes have, and who wants which port of them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) served: NodePorts,
    of_node: HashMap<Arc<str>, Vec<IpAddr>>,
    /// Each address, with the number of nodes that say it is theirs.
    addresses: BTreeMap<IpAddr, u32>,
    wanted: BTreeMap<(u16, Protocol), BTreeSet<ServiceKey>>,
    of_service: HashMap<ServiceKey, Vec<(u16, Protocol)>>,
}

impl Nodes {
    /// Notes the addresses of a node; whether that changed anything.
    fn put(&mut self, name: &Arc<str>, addresses: &[IpAddr]) -> bool {
        if self.of_node.get(name).map(Vec::as_slice).unwrap_or_default() == addresses {
            return false;
        }
        for ip in self.of_node.remove(name).unwrap_or_default() {
            if let Some(count) = self.addresses.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    self.addresses.remove(&ip);
                }
            }
        }
        for ip in addresses {
            *self.addresses.entry(*ip).or_default() += 1;
        }
        if !addresses.is_empty() {
            self.of_node.insert(name.clone(), addresses.to_vec());
        }
        true
    }

    /// Whether an address is a node's.
    pub(super) fn has(&self, ip: &IpAddr) -> bool {
        self.addresses.contains_key(ip)
    }
}

impl ClusterState {
    /// The same state, serving `NodePort`s at these addresses.
    #[must_use]
    pub fn with_node_ports(mut self, served: NodePorts) -> Self {
        self.nodes.served = served;
        self
    }

    /// Notes the addresses of a node; none for one that is gone.
    pub(super) fn note_node(&mut self, name: &Arc<str>, addresses: &[IpAddr]) {
        let wanted = match self.nodes.served {
            NodePorts::AllNodes => true,
            NodePorts::ThisNode => **name == *self.node_name,
            NodePorts::Off => false,
        };
        if wanted && self.nodes.put(name, addresses) {
            self.dirty.insert(ServiceKey::nodes());
        }
    }

    /// Notes which ports of the nodes a Service wants now; whoever wants one of them, before or after, is compiled anew.
    pub(super) fn note_node_ports(&mut self, key: &ServiceKey) {
        let service = self.entries.get(key).and_then(|entry| entry.service.as_ref());
        let ports = service.into_iter().flat_map(|known| &known.object.ports);
        let now: Vec<(u16, Protocol)> = match self.nodes.served {
            NodePorts::Off => Vec::new(),
            _ => ports.filter_map(|port| Some((port.node_port?, port.protocol))).collect(),
        };
        let before = self.nodes.of_service.remove(key).unwrap_or_default();
        if now.is_empty() && before.is_empty() {
            return;
        }
        let had_any = !self.nodes.wanted.is_empty();
        for port in &before {
            if let Some(sharers) = self.nodes.wanted.get_mut(port) {
                sharers.remove(key);
                self.dirty.extend(sharers.iter().cloned());
                if sharers.is_empty() {
                    self.nodes.wanted.remove(port);
                }
            }
        }
        for port in &now {
            let sharers = self.nodes.wanted.entry(*port).or_default();
            self.dirty.extend(sharers.iter().cloned());
            sharers.insert(key.clone());
        }
        if !now.is_empty() {
            self.nodes.of_service.insert(key.clone(), now);
        }
        if had_any == self.nodes.wanted.is_empty() {
            self.dirty.insert(ServiceKey::nodes());
        }
    }

    /// What the maps should hold of the nodes' addresses: nothing while there is no `NodePort`. An address that is also a
    /// Service's is the Service's.
    pub(super) fn compile_nodes(&self) -> Option<DesiredService> {
        if self.nodes.wanted.is_empty() {
            return None;
        }
        let free = self.nodes.addresses.keys().filter(|ip| self.addresses.owner(**ip).is_none());
        let addresses = free.copied().map(Address::from).chain([Address::LOOPBACK_V4, Address::LOOPBACK_V6]);
        Some(DesiredService { addresses: addresses.collect(), nodes: true, ..DesiredService::default() })
    }

    /// The `NodePort`s that a Service has to itself.
    pub(super) fn node_port_frontends<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = FrontendKey> + 'a {
        let of_it = self.nodes.of_service.get(&service.key).into_iter().flatten();
        let its_own = of_it.filter(|port| self.node_port_owner(**port) == Some(&service.key));
        its_own.flat_map(|&(port, protocol)| {
            let families = service.cluster_ips.iter().map(IpAddr::is_ipv6);
            families.map(move |v6| FrontendKey::node_port(v6, Port::from_host(port), protocol))
        })
    }

    /// The oldest of the Services that want a port.
    fn node_port_owner(&self, port: (u16, Protocol)) -> Option<&ServiceKey> {
        let sharers = self.nodes.wanted.get(&port)?.iter();
        let known = sharers.filter_map(|key| Some(&self.entries.get(key)?.service.as_ref()?.object));
        // One without a timestamp is the younger; of equals the first by name.
        known.map(|service| (service.created.is_empty(), &service.created, &service.key)).min().map(|(.., key)| key)
    }

    /// The key by which `address:port` is looked up when it is a node's: at a loopback address, this node's.
    pub fn at_a_node(&self, address: IpAddr, port: u16, protocol: Protocol) -> Option<FrontendKey> {
        let is_node = address.is_loopback() && Address::from(address).is_loopback() || self.nodes.has(&address);
        (is_node && self.addresses.owner(address).is_none())
            .then(|| FrontendKey::node_port(address.is_ipv6(), Port::from_host(port), protocol))
    }

    /// The Service that has a `NodePort`.
    pub fn service_at_node_port(&self, key: &FrontendKey) -> Option<&ServiceKey> {
        let owner = self.node_port_owner((key.port.host(), key.protocol()))?;
        let service = &self.entries.get(owner)?.service.as_ref()?.object;
        self.node_port_frontends(service).any(|own| own == *key).then_some(owner)
    }

    /// `NodePort`s that another Service has.
    pub(super) fn node_port_findings(&self, findings: &mut Vec<Finding>) {
        for (&port, sharers) in self.nodes.wanted.iter().filter(|(_, sharers)| sharers.len() > 1) {
            let Some(owner) = self.node_port_owner(port) else { continue };
            for loser in sharers.iter().filter(|key| *key != owner) {
                let Some(KnownService { object, origin, .. }) =
                    self.entries.get(loser).and_then(|entry| entry.service.as_ref())
                else {
                    continue;
                };
                let position =
                    object.ports.iter().position(|own| (own.node_port, own.protocol) == (Some(port.0), port.1));
                findings.push(Finding {
                    severity: Severity::Conflict,
                    origin: origin.clone(),
                    object: Some(loser.object()),
                    field: format!("spec.ports[{}].nodePort", position.unwrap_or_default()).into(),
                    message: format!("{}/{} is the NodePort of Service {owner}", port.0, port.1).into(),
                    action: "give one of the two another nodePort; until then it is not served there".into(),
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
