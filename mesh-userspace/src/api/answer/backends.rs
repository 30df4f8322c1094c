//! Backends with the verdict on each, and what the maps count of them.

use super::{Facts, limit, name};
use crate::agent::monotonic;
use crate::api::query::Scope;
use crate::api::types::{Backend, BackendState, InboundCounts, ServiceName, ServicePort};
use crate::maps::Maps;
use crate::model::Endpoint;
use crate::plan::BackendKey;
use crate::plan::eligible::{Verdict, Why};
use crate::reconcile::{BackendCounts, ServiceCounts};
use crate::state::ServiceDetail;
use mesh_common::address::Protocol;
use mesh_common::tables;
use std::collections::HashMap;

/// A backend of a Service.
pub(super) struct Judged<'a> {
    /// The Service's port; `None` for a backend that is gone.
    pub port: Option<ServicePort>,
    /// Whether that port is the IPv6 half.
    pub v6: bool,
    /// Whether it is what the ClusterIP leads to; a port whose outer addresses follow another rule is judged twice.
    pub internal: bool,
    /// Whether it is what a load balancer's addresses with source ranges lead to, likewise.
    pub fenced: bool,
    /// The backend.
    pub key: BackendKey,
    /// Its entry in the maps; `None` when it has none.
    pub id: Option<tables::BackendId>,
    /// The endpoint; `None` for a backend that is gone.
    pub endpoint: Option<&'a Endpoint>,
    /// Whether it takes connections.
    pub state: BackendState,
    /// Why.
    pub why: String,
    /// Its weight against the port's other backends.
    pub weight: u32,
    /// Connections open now.
    pub active: u64,
    /// The limit in force.
    pub max_connections: Option<u64>,
    /// What is counted at its own interface.
    pub inbound: Option<InboundCounts>,
}

impl Judged<'_> {
    /// As the API gives it.
    pub fn row(self, service: &ServiceName) -> Backend {
        let text = |pick: fn(&Endpoint) -> &str| self.endpoint.map(pick).unwrap_or_default().to_owned();
        Backend {
            service: service.clone(),
            address: self.key.address.into(),
            port: self.key.port.host(),
            protocol: self.key.protocol.to_string(),
            pod: text(|endpoint| &endpoint.pod),
            node: text(|endpoint| &endpoint.node),
            zone: text(|endpoint| &endpoint.zone),
            state: self.state,
            why: self.why,
            weight: self.weight,
            active: self.active,
            max_connections: self.max_connections,
            inbound: self.inbound,
            service_port: self.port,
        }
    }
}

impl<M: Maps> Facts<'_, M> {
    /// Every backend of the Services of a scope.
    pub(super) fn backends(&self, scope: &Scope) -> Vec<Backend> {
        let services = self.state.services().into_iter().filter(|service| scope.holds(&service.key.namespace));
        let mut backends = Vec::new();
        for service in services {
            if let Some(detail) = self.state.service(&service.key) {
                let service = name(&service.key);
                let listed = self.backends_of(&detail).into_iter().filter(|backend| backend.internal);
                backends.extend(listed.map(|backend| backend.row(&service)));
            }
        }
        backends
    }

    /// Every backend of a Service: by port, then those that are gone and still have connections.
    pub(super) fn backends_of<'b>(&'b self, detail: &'b ServiceDetail<'b>) -> Vec<Judged<'b>> {
        let all = self.reconciler.service_counts(&detail.service.key);
        let max_connections = all.as_ref().and_then(|counts| limit(counts.max_connections_per_backend));
        let counted = all.iter().flat_map(|counts| &counts.backends);
        let by_key: HashMap<BackendKey, _> = counted.clone().map(|backend| (backend.key, backend)).collect();
        let mut backends = Vec::new();
        for port in self.state.ports(detail) {
            let mut candidates = port.candidates;
            candidates.sort_by_key(|candidate| candidate.backend);
            for candidate in candidates.iter().filter(|c| c.verdict != Verdict::Out(Why::Duplicate)) {
                let counts = by_key.get(&candidate.backend);
                let ejected = all.as_ref().zip(counts).and_then(|(all, backend)| ejected(all, backend));
                let in_slots = counts.is_some_and(|counts| counts.in_slots);
                let (state, why) = match candidate.verdict {
                    Verdict::Out(why) if candidate.endpoint.serving => (BackendState::Kept, why.sentence().to_owned()),
                    Verdict::Out(why) => (BackendState::Excluded, why.sentence().to_owned()),
                    _ if in_slots && ejected.is_some() => (BackendState::Ejected, ejected.unwrap_or_default()),
                    verdict if in_slots => (BackendState::Eligible, verdict.sentence().to_owned()),
                    verdict => (BackendState::Excluded, format!("{}, and not in the maps yet", verdict.sentence())),
                };
                backends.push(Judged {
                    port: Some(super::services::port(port.port)),
                    v6: port.v6,
                    internal: port.internal,
                    fenced: port.fenced,
                    key: candidate.backend,
                    id: counts.map(|counts| counts.id),
                    endpoint: Some(candidate.endpoint),
                    state,
                    why,
                    weight: candidate.weight,
                    active: counts.map_or(0, |counts| counts.active),
                    max_connections,
                    inbound: self.inbound(&candidate.backend),
                });
            }
        }
        let gone = counted.filter(|backend| backend.state == tables::BackendState::Gone && backend.active > 0);
        backends.extend(gone.map(|backend| Judged {
            port: None,
            v6: !backend.key.address.is_v4(),
            internal: true,
            fenced: false,
            key: backend.key,
            id: Some(backend.id),
            endpoint: None,
            state: BackendState::Gone,
            why: self.why_gone(backend.id),
            weight: 0,
            active: backend.active,
            max_connections,
            inbound: self.inbound(&backend.key),
        }));
        backends
    }

    fn inbound(&self, key: &BackendKey) -> Option<InboundCounts> {
        let is_tcp = key.protocol == Protocol::Tcp;
        self.inbound.filter(|_| is_tcp).and_then(|figures| super::inbound::counts(figures, key))
    }

    fn why_gone(&self, id: tables::BackendId) -> String {
        let gone = self.reconciler.applied().gone().find(|(gone, _)| *gone == id);
        let ends_at = gone.and_then(|(id, gone)| self.reconciler.ends_at(id, gone));
        let what = match ends_at.map(|at| at.saturating_sub(monotonic()).div_ceil(1_000_000_000)) {
            None => "go on until they end".to_owned(),
            Some(0) => "are being ended".to_owned(),
            Some(seconds) => format!("end in {seconds} s"),
        };
        format!("its endpoint was removed; its connections {what}")
    }
}

/// Why a backend is ejected now; `None` when it is not.
fn ejected(counts: &ServiceCounts, backend: &BackendCounts) -> Option<String> {
    let rule = counts.outlier.filter(|_| counts.is_out(backend))?;
    let (standing, left) = (backend.standing, backend.standing.left(monotonic() / 1_000_000));
    let by_resets = rule.thresholds.resets > 0 && standing.resets >= rule.thresholds.resets;
    let seconds = left.div_ceil(1_000);
    let (failures, kind) = match (by_resets, standing.connects) {
        (false, 0) => return Some(format!("ejected for another {seconds} s: its answers are slower than the others'")),
        (false, connects) => (connects, "refused or unanswered"),
        (true, _) => (standing.resets, "reset soon after the handshake, or silent after it"),
    };
    Some(format!("ejected for another {seconds} s after {failures} consecutive failures: {kind}"))
}
