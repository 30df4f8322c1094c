//! Limits at this node's backends.

use super::{Facts, limit};
use crate::api::types::{BackendLoad, InboundCounts, InboundStatus};
use crate::inbound::Inbound;
use crate::maps::Maps;
use crate::maps::inbound::InboundFigures;
use crate::model::ServiceKey;
use crate::plan::BackendKey;
use mesh_common::packet::PacketReason;
use std::time::Duration;

/// How long a pod's interface may be looked for before that is a problem.
const PATIENCE: Duration = Duration::from_secs(5);

/// All of them.
pub(super) fn status(inbound: &Inbound) -> InboundStatus {
    let report = inbound.report().clone();
    let count = |reason| inbound.figures().packets(reason).unwrap_or_default();
    InboundStatus {
        in_force: report.in_force as u64,
        attached_by: report.attached_by.map(|way| way.name().to_owned()),
        interfaces: report.interfaces as u64,
        missing: report.missing.keys().map(ToString::to_string).collect(),
        left_out: report.left_out as u64,
        connections: report.connections,
        given_back: report.given_back,
        drifted: report.drifted as u64,
        repaired: report.repaired,
        packets: PacketReason::ALL.map(|reason| (reason.name().to_owned(), count(reason))).into(),
    }
}

/// What needs attention, with what to do.
pub(super) fn problems(inbound: &Inbound) -> Vec<String> {
    let report = inbound.report();
    let is_long = |since: &std::time::Instant| since.elapsed() >= PATIENCE;
    let missing: Vec<_> =
        report.missing.iter().filter(|(_, since)| is_long(since)).map(|(key, _)| key.to_string()).collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!(
            "maxInboundConnectionsPerBackend does not hold for {}: no virtual Ethernet interface (veth) of this node leads \
             there (a pod in the host's network, or one that is gone?)",
            missing.join(", ")
        ));
    }
    if report.left_out > 0 {
        problems.push(format!(
            "maxInboundConnectionsPerBackend does not hold for {} backends: INBOUND_BACKENDS is full",
            report.left_out
        ));
    }
    if report.drifted > 0 {
        problems.push(format!(
            "{} counts of inbound connections do not agree with the table: report this as a defect",
            report.drifted
        ));
    }
    let errors = report.errors.iter().filter(|_| inbound.is_wanted() || report.interfaces > 0);
    problems.extend(errors.map(|error| format!("limits at backends: {error}")));
    problems
}

/// What is counted at a backend.
pub(super) fn counts(figures: &InboundFigures, key: &BackendKey) -> Option<InboundCounts> {
    let counts = figures.of(key)?;
    let (enforced, observed) = (limit(counts.limit), limit(counts.observed_limit));
    let observe = enforced.is_none() && observed.is_some();
    Some(InboundCounts {
        active: counts.active,
        max_connections: enforced.or(observed),
        observe,
        opened: counts.opened,
        refused: if observe { counts.observed } else { counts.refused },
        reset: counts.reset,
    })
}

impl<M: Maps> Facts<'_, M> {
    /// What is open to each of a Service's backends on this node.
    pub(super) fn backend_loads(&self, service: &ServiceKey) -> Vec<BackendLoad> {
        let from_here = self.reconciler.service_counts(service);
        let load = |key: &BackendKey| {
            if let Some(counts) = self.inbound.and_then(|figures| figures.of(key)) {
                return BackendLoad { open: counts.active, counted: true };
            }
            let counts = from_here.iter().flat_map(|counts| &counts.backends).find(|backend| backend.key == *key);
            BackendLoad { open: counts.map_or(0, |backend| backend.active), counted: false }
        };
        let mut loads: Vec<_> = self.state.own_backends(service).iter().map(load).collect();
        loads.sort_unstable_by(|a, b| b.cmp(a));
        loads
    }
}
