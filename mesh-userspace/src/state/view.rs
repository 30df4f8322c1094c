//! What the command line shows of a Service.

use super::ClusterState;
use super::policies::KnownPolicy;
use crate::model::{EndpointSlice, Kind, Limits, ObjectRef, Origin, Policy, Service, ServiceKey};
use crate::plan::compile::{self, PortView};
use mesh_common::tables::FrontendKey;
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
    /// What clients dial besides these: at addresses of load balancers, at external IPs.
    pub externals: Vec<FrontendKey>,
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

/// A policy, wherever it is in force.
#[derive(Clone, Copy, Debug)]
pub struct PolicyView<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where it was read.
    pub origin: Option<&'a Origin>,
    /// The Services that it is attached to.
    pub attached: &'a [ServiceKey],
}

impl ClusterState {
    /// Every policy, by kind, namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = PolicyView<'_>> {
        self.policies.values().map(KnownPolicy::view)
    }

    /// A policy, if it means something.
    pub fn policy(&self, own: &ObjectRef) -> Option<PolicyView<'_>> {
        self.policies.get(own).map(KnownPolicy::view)
    }

    /// The policy that a Service follows, if there is the Service.
    pub fn service_policy(&self, key: &ServiceKey) -> Option<&ObjectRef> {
        self.entries.get(key).filter(|entry| entry.service.is_some())?.policy()
    }

    /// The limits of the policy that a Service follows.
    pub fn limits(&self, key: &ServiceKey) -> Option<Limits> {
        self.policies.get(self.service_policy(key)?).map(|known| known.object.limits)
    }

    /// How many objects of each kind are known.
    pub fn objects(&self) -> [(Kind, usize); 4] {
        let services = self.entries.values().filter(|entry| entry.service.is_some()).count();
        let policies = |kind| self.policies.keys().filter(|own| own.kind == kind).count();
        [
            (Kind::DestinationRule, policies(Kind::DestinationRule)),
            (Kind::EndpointSlice, self.slices.len()),
            (Kind::Service, services),
            (Kind::TrafficPolicy, policies(Kind::TrafficPolicy)),
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
            externals: self.external_frontends(&known.object),
            policy: policy.map(|known| PolicyInForce { policy: &known.object, origin: known.origin.as_ref() }),
        })
    }

    /// Each port of each family of a Service with every endpoint and whether it takes new connections. `detail` is what
    /// [`Self::service`] gave.
    pub fn ports<'a>(&'a self, detail: &'a ServiceDetail<'a>) -> Vec<PortView<'a>> {
        let Some(entry) = self.entries.get(&detail.service.key) else { return Vec::new() };
        compile::ports(self.view(entry, detail.service, &detail.addresses, &detail.externals), self.here()).collect()
    }
}
