//! Addresses of load balancers and external IPs. Unlike a ClusterIP, several Services may share one, port by port.

use super::ClusterState;
use crate::model::{Finding, Service, ServiceKey, Severity};
use mesh_common::address::{Address, Port};
use mesh_common::tables::FrontendKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Who wants which address.
#[derive(Debug, Default)]
pub(super) struct Externals {
    /// Whether `spec.externalIPs` are served.
    pub(super) external_ips: bool,
    wanted: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    of: HashMap<ServiceKey, Vec<IpAddr>>,
}

impl Externals {
    /// The addresses that a Service wants.
    fn wants(&self, service: &Service) -> Vec<IpAddr> {
        let external = service.external_ips.iter().filter(|_| self.external_ips);
        let mut ips: Vec<IpAddr> = service.load_balancer_ips.iter().chain(external).copied().collect();
        ips.sort_unstable();
        ips.dedup();
        // A family without a ClusterIP is not the Service's.
        ips.retain(|ip| service.cluster_ips.iter().any(|own| own.is_ipv4() == ip.is_ipv4()));
        ips
    }

    /// Who wants this address.
    pub(super) fn wanted(&self, ip: &IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.wanted.get(ip).into_iter().flatten()
    }
}

impl ClusterState {
    /// The same state, serving `spec.externalIPs` or not. By default it does not: who may write them may take any traffic
    /// (CVE-2020-8554).
    #[must_use]
    pub fn with_external_ips(mut self, served: bool) -> Self {
        self.externals.external_ips = served;
        self
    }

    /// Notes what a Service wants now; whoever shares an address with it, before or after, is compiled anew.
    pub(super) fn note_externals(&mut self, key: &ServiceKey) {
        let known = self.entries.get(key).and_then(|entry| entry.service.as_ref());
        let now = known.map(|known| self.externals.wants(&known.object)).unwrap_or_default();
        let before = self.externals.of.remove(key).unwrap_or_default();
        for ip in &before {
            if let Some(sharers) = self.externals.wanted.get_mut(ip) {
                sharers.remove(key);
                self.dirty.extend(sharers.iter().cloned());
                if sharers.is_empty() {
                    self.externals.wanted.remove(ip);
                }
            }
        }
        for ip in &now {
            let sharers = self.externals.wanted.entry(*ip).or_default();
            self.dirty.extend(sharers.iter().cloned());
            sharers.insert(key.clone());
        }
        if !now.is_empty() {
            self.externals.of.insert(key.clone(), now);
        }
    }

    /// Whoever wants one of these addresses is compiled anew: their owner, as a ClusterIP, may be another.
    pub(super) fn external_owners_changed(&mut self, ips: impl IntoIterator<Item = IpAddr>) {
        for ip in ips {
            self.dirty.extend(self.externals.wanted(&ip).cloned());
            if self.nodes.has(&ip) {
                self.dirty.insert(ServiceKey::nodes());
            }
        }
    }

    /// What clients dial at the addresses besides the ClusterIPs that a Service has to itself, nodes' addresses among them: no
    /// Service's ClusterIP, and no older Service's port.
    pub(super) fn external_frontends(&self, service: &Service) -> Vec<FrontendKey> {
        let ips = self.externals.of.get(&service.key).into_iter().flatten();
        let keys = ips.flat_map(|&ip| {
            service
                .ports
                .iter()
                .map(move |port| (ip, FrontendKey::new(Address::from(ip), Port::from_host(port.port), port.protocol)))
        });
        let free = keys.filter(|(ip, key)| self.taken_by(service, *ip, key).is_none()).map(|(_, key)| key);
        free.chain(self.node_port_frontends(service)).collect()
    }

    /// The other Service that has a frontend.
    fn taken_by<'a>(&'a self, service: &'a Service, ip: IpAddr, key: &FrontendKey) -> Option<&'a ServiceKey> {
        if let Some(owner) = self.addresses.owner(ip) {
            return Some(owner);
        }
        // One without a timestamp is the younger; of equals the first by name.
        let age = |service: &'a Service| (service.created.is_empty(), &service.created, &service.key);
        let others = self.externals.wanted(&ip).filter(|other| **other != service.key);
        let known = others.filter_map(|other| Some(&self.entries.get(other)?.service.as_ref()?.object));
        let lists = |other: &&Service| {
            other.ports.iter().any(|port| port.port == key.port.host() && port.protocol == key.protocol())
        };
        known.filter(lists).find(|other| age(other) < age(service)).map(|other| &other.key)
    }

    /// The Service that has a frontend at an address which is no ClusterIP.
    pub fn service_at_external(&self, key: &FrontendKey) -> Option<&ServiceKey> {
        let ip = IpAddr::from(key.address);
        self.externals.wanted(&ip).find(|service| {
            let known = self.entries.get(*service).and_then(|entry| entry.service.as_ref());
            known.is_some_and(|known| self.external_frontends(&known.object).contains(key))
        })
    }

    /// External IPs that are not served, and frontends that another Service has.
    pub(super) fn external_findings(&self, findings: &mut Vec<Finding>) {
        let all = self.entries.values().filter_map(|entry| entry.service.as_ref());
        for known in all {
            let service = &known.object;
            let finding = |severity, field: &str, message: String, action: &str| Finding {
                severity,
                origin: known.origin.clone(),
                object: Some(service.key.object()),
                field: field.into(),
                message: message.into(),
                action: action.into(),
            };
            if !service.external_ips.is_empty() && !self.externals.external_ips {
                findings.push(finding(
                    Severity::Unsupported,
                    "spec.externalIPs",
                    "external addresses are off: who may write them may take any traffic (CVE-2020-8554)".to_owned(),
                    "reach it by its ClusterIP, or start the agent with --external-ips",
                ));
            }
            for ip in self.externals.of.get(&service.key).into_iter().flatten() {
                for port in &service.ports {
                    let key = FrontendKey::new(Address::from(*ip), Port::from_host(port.port), port.protocol);
                    let Some(owner) = self.taken_by(service, *ip, &key) else { continue };
                    let balancer = service.load_balancer_ips.contains(ip);
                    let field = if balancer { "status.loadBalancer.ingress" } else { "spec.externalIPs" };
                    let message = format!("{key} is Service {owner}'s");
                    findings.push(finding(
                        Severity::Conflict,
                        field,
                        message,
                        "give one of the two another address or port",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "externals_tests.rs"]
mod tests;
