//! Services, as the cluster wants them and as the maps count them.

use super::explain::hash;
use super::{Facts, limit, name, problems};
use crate::api::query::Scope;
use crate::api::types::{BackendCounts, BackendState, Endings, Service, ServiceDetail, ServicePort, ServiceState};
use crate::maps::Maps;
use crate::model::{self, InternalTrafficPolicy, Kind, ServiceKey, TrafficDistribution};
use crate::plan::Ended;
use crate::reconcile::{ServiceCounts, State};
use crate::state;
use mesh_common::reason::Reason;
use mesh_common::tables::FrontendKey;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl<M: Maps> Facts<'_, M> {
    /// Every Service of a scope.
    pub(super) fn services(&self, scope: &Scope) -> Vec<Service> {
        let services = self.state.services().into_iter().filter(|service| scope.holds(&service.key.namespace));
        services.filter_map(|service| Some(self.summary(&self.state.service(&service.key)?))).collect()
    }

    /// One Service.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<ServiceDetail> {
        let detail = self.state.service(key)?;
        let counts = self.reconciler.service_counts(key);
        let wanted = name(key);
        let policy = detail.policy.map(|policy| policy.policy.object());
        let is_about = |finding: &&model::Finding| {
            finding.object.as_ref().is_some_and(|object| match object.kind {
                Kind::Service => *object == key.object(),
                Kind::TrafficPolicy | Kind::DestinationRule => policy.as_ref() == Some(object),
                Kind::EndpointSlice => {
                    object.namespace == key.namespace && self.slice_names(key).any(|slice| slice == *object.name)
                }
                Kind::Node | Kind::Namespace | Kind::Pod => false,
            })
        };
        Some(ServiceDetail {
            service: self.summary(&detail),
            internal_traffic_policy: internal_traffic_policy(detail.service.internal_traffic_policy).to_owned(),
            traffic_distribution: traffic_distribution(detail.service.traffic_distribution).to_owned(),
            reasons: reasons(counts.as_ref()).into_iter().map(|(r, n)| (r.name().to_owned(), n)).collect(),
            returned: self.reconciler.applied().account_of(key).map_or(0, |account| account.returned),
            ended: self.ended(key),
            endpoints: self
                .backends_of(&detail)
                .into_iter()
                .filter(|backend| backend.internal)
                .map(|backend| backend.row(&wanted))
                .collect(),
            findings: self.state.findings().iter().filter(is_about).map(Into::into).collect(),
        })
    }

    fn summary(&self, detail: &state::ServiceDetail<'_>) -> Service {
        let service = detail.service;
        let counts = self.reconciler.service_counts(&service.key);
        let (state, message) = self.state_of(detail);
        let mut backends = BackendCounts::default();
        for backend in self.backends_of(detail).iter().filter(|backend| backend.port.is_some() && backend.internal) {
            backends.listed += 1;
            backends.eligible += u64::from(backend.state == BackendState::Eligible);
        }
        let policy = detail.policy.map(|policy| policy.policy);
        let limits = policy.map(|policy| policy.limits).unwrap_or_default();
        let reasons = reasons(counts.as_ref());
        Service {
            namespace: service.key.namespace.to_string(),
            name: service.key.name.to_string(),
            state,
            message,
            cluster_ips: service.cluster_ips.clone(),
            external_ips: external_ips(&detail.externals),
            ports: service.ports.iter().map(port).collect(),
            backends,
            active: counts.as_ref().map_or(0, |counts| counts.active),
            opened: counts.as_ref().map_or(0, |counts| counts.ports.iter().map(|port| port.opened).sum()),
            refused: reasons.iter().filter(|(reason, _)| reason.is_refusal()).map(|(_, count)| count).sum(),
            // What is in force; before the Service is in the maps, what will be.
            max_connections: counts.as_ref().map_or(limits.max_connections, |c| limit(c.max_connections)),
            max_connections_per_backend: counts
                .as_ref()
                .map_or(limits.max_connections_per_backend, |c| limit(c.max_connections_per_backend)),
            traffic: (&limits).into(),
            endings: Endings::of(service, policy),
            algorithm: policy.and_then(|policy| policy.algorithm).unwrap_or_default().name().to_owned(),
            hash: hash(policy),
            affinity_timeout_seconds: affinity_seconds(service),
            policy: policy.map(|policy| policy_name(policy, &service.key)),
            policy_kind: policy.map(|policy| policy.kind.to_string()),
        }
    }

    /// How the Service is served, and why not as it should be.
    pub(super) fn state_of(&self, detail: &state::ServiceDetail<'_>) -> (ServiceState, String) {
        if let Some(why) = detail.service.ignored {
            return (ServiceState::Ignored, why.to_owned());
        }
        if let Some(pending) = self.waiting.get(&detail.service.key) {
            let state = match pending.state {
                State::Failed { .. } => ServiceState::Failed,
                State::Due | State::Waiting { .. } => ServiceState::Pending,
            };
            return (state, problems(pending));
        }
        if detail.addresses.is_empty() {
            return (ServiceState::Failed, "an older Service has its addresses; see the findings".to_owned());
        }
        (ServiceState::Served, String::new())
    }

    /// Connections of a Service that the agent ended.
    fn ended(&self, key: &ServiceKey) -> BTreeMap<String, u64> {
        let counts = self.reconciler.applied().account_of(key).map(|account| account.ended).unwrap_or_default();
        Ended::ALL.into_iter().map(|why| (why.name().to_owned(), counts[why as usize])).collect()
    }

    fn slice_names(&self, key: &ServiceKey) -> impl Iterator<Item = String> {
        self.state.slices_of(key).map(|slice| slice.name.to_string())
    }
}

/// What is counted for a Service by reason: over its ports, and on its account where no port was meant.
fn reasons(counts: Option<&ServiceCounts>) -> BTreeMap<Reason, u64> {
    let mut sums: BTreeMap<Reason, u64> = Reason::ALL.into_iter().map(|reason| (reason, 0)).collect();
    let Some(counts) = counts else { return sums };
    // A Service's first port is its account: its columns are not counted twice.
    let of_ports = counts.ports.iter().filter(|port| port.id != counts.account).map(|port| &port.reasons);
    for columns in of_ports.chain([&counts.account_reasons]) {
        for (reason, count) in Reason::ALL.into_iter().zip(columns) {
            *sums.entry(reason).or_default() += count;
        }
    }
    let opened: u64 = counts.ports.iter().map(|port| port.opened).sum();
    let otherwise: u64 = Reason::OPENED_OTHERWISE.iter().filter_map(|reason| sums.get(reason)).sum();
    sums.insert(Reason::Ejected, counts.ejections);
    sums.insert(Reason::Selected, opened.saturating_sub(otherwise));
    sums
}

/// The addresses of frontends, each once.
fn external_ips(frontends: &[FrontendKey]) -> Vec<IpAddr> {
    let outer = frontends.iter().filter(|key| !key.is_node_port());
    let addresses: BTreeSet<IpAddr> = outer.map(|key| key.address.into()).collect();
    addresses.into_iter().collect()
}

/// The affinity timeout as the API gives it.
pub(super) fn affinity_seconds(service: &model::Service) -> Option<u64> {
    service.session_affinity.map(|timeout| timeout.as_secs())
}

/// A port as the API gives it.
pub(super) fn port(port: &model::ServicePort) -> ServicePort {
    ServicePort {
        name: port.name.to_string(),
        protocol: port.protocol.to_string(),
        port: port.port,
        node_port: port.node_port,
    }
}

/// As Kubernetes spells it.
/// A policy's name, as seen from a Service.
pub(super) fn policy_name(policy: &model::Policy, service: &ServiceKey) -> String {
    if policy.namespace == service.namespace {
        policy.name.to_string()
    } else {
        format!("{}/{}", policy.namespace, policy.name)
    }
}

pub(super) const fn internal_traffic_policy(policy: InternalTrafficPolicy) -> &'static str {
    match policy {
        InternalTrafficPolicy::Cluster => "Cluster",
        InternalTrafficPolicy::Local => "Local",
    }
}

/// As Kubernetes spells it; empty when not set.
pub(super) const fn traffic_distribution(distribution: TrafficDistribution) -> &'static str {
    match distribution {
        TrafficDistribution::None => "",
        TrafficDistribution::PreferSameZone => "PreferSameZone",
        TrafficDistribution::PreferSameNode => "PreferSameNode",
    }
}
