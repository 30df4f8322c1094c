//! What the command line shows of a Service.

use super::ClusterState;
use crate::model::{EndpointSlice, Kind, Origin, Policy, Service, ServiceKey};
use crate::plan::compile::{self, PortView};
use std::net::IpAddr;

/// A Service with its endpoints judged.
#[derive(Clone, Debug)]
pub struct ServiceDetail<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Where it was read.
    pub origin: Option<&'a Origin>,
    /// Those of its addresses that no older Service has; empty when it is not served.
    pub addresses: Vec<IpAddr>,
    /// The policy in force.
    pub policy: Option<PolicyInForce<'a>>,
}

/// A policy that a Service follows.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInForce<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where it was read.
    pub origin: Option<&'a Origin>,
}

impl ClusterState {
    /// How many objects of each kind are known.
    pub fn objects(&self) -> [(Kind, usize); 3] {
        let services = self.entries.values().filter(|entry| entry.service.is_some()).count();
        [
            (Kind::EndpointSlice, self.slices.len()),
            (Kind::Service, services),
            (Kind::TrafficPolicy, self.policies.len()),
        ]
    }

    /// Every Service, in the order of its name.
    pub fn services(&self) -> Vec<&Service> {
        let mut services: Vec<&Service> =
            self.entries.values().filter_map(|entry| Some(&entry.service.as_ref()?.object)).collect();
        services.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        services
    }

    /// The endpoint slices of a Service, by name.
    pub fn slices_of(&self, key: &ServiceKey) -> impl Iterator<Item = &EndpointSlice> {
        self.entries.get(key).into_iter().flat_map(|entry| &entry.slices)
    }

    /// The Service that an address leads to.
    pub fn service_at(&self, ip: IpAddr) -> Option<&ServiceKey> {
        let ip = ip.to_canonical();
        let owner = self.addresses.owner(ip)?;
        let known = self.entries.get(owner)?.service.as_ref()?;
        known.object.cluster_ips.contains(&ip).then_some(owner)
    }

    /// A Service in detail.
    pub fn service(&self, key: &ServiceKey) -> Option<ServiceDetail<'_>> {
        let entry = self.entries.get(key)?;
        let known = entry.service.as_ref()?;
        let policy = entry.policy().and_then(|policy| self.policies.get(policy));
        Some(ServiceDetail {
            service: &known.object,
            origin: known.origin.as_ref(),
            addresses: self.owned_addresses(&known.object),
            policy: policy.map(|known| PolicyInForce { policy: &known.object, origin: known.origin.as_ref() }),
        })
    }

    /// Each port of each family of a Service with every endpoint and whether it takes new connections. `detail` is what
    /// [`Self::service`] gave.
    pub fn ports<'a>(&'a self, detail: &'a ServiceDetail<'a>) -> Vec<PortView<'a>> {
        let Some(entry) = self.entries.get(&detail.service.key) else { return Vec::new() };
        compile::ports(self.view(entry, detail.service, &detail.addresses), self.here()).collect()
    }
}
