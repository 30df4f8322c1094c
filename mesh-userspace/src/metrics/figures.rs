//! What the owner of the state hands out at a scrape: plain data, read from the maps.

use crate::api::types::{Status, TrafficLimits};
use crate::maps::Maps;
use crate::model::ServiceKey;
use crate::plan::EndedCounts;
use crate::reconcile::Reconciler;
use mesh_common::reason::Reason;
use mesh_common::tables::{Outlier, UNLIMITED};
use prometheus_client::metrics::histogram::Histogram;

/// Services that have series of their own, at most. A series each for what is active and for the two limits, and one for
/// each reason that has occurred: most often two.
pub const MAX_SERVICES: usize = 2_000;

/// Everything that `/metrics` shows, of one moment.
#[derive(Debug)]
pub struct Figures {
    /// What `mesh status` says.
    pub status: Status,
    /// Services with figures, the longest known first.
    pub services: Vec<ServiceFigures>,
    /// Services with figures beyond [`MAX_SERVICES`].
    pub left_out: usize,
    /// How long changes took to get into the maps.
    pub changes: Histogram,
    /// How long each round of writing took.
    pub syncs: Histogram,
}

/// What is counted for one Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceFigures {
    /// The Service.
    pub service: ServiceKey,
    /// Connections open now.
    pub active: u64,
    /// By [`Reason`]'s number.
    pub reasons: [u64; Reason::ALL.len()],
    /// Connections that the agent ended, by [`crate::plan::Ended`]'s number.
    pub ended: EndedCounts,
    /// Ejected backends that a health check brought back.
    pub returned: u64,
    /// Backends ejected now and ejections so far; `None` where none is ever ejected.
    pub ejected: Option<(u64, u64)>,
    /// The limit in force.
    pub max_connections: Option<u64>,
    /// The limit in force.
    pub max_connections_per_backend: Option<u64>,
    /// Those by client and by rate.
    pub traffic: TrafficLimits,
}

impl ServiceFigures {
    /// Whether anything is to be told of it.
    fn has_any(&self) -> bool {
        let limits = [self.max_connections, self.max_connections_per_backend];
        let limited = limits.iter().any(Option::is_some) || self.traffic != TrafficLimits::default();
        let judged = self.ejected.is_some();
        let counted = self.reasons.iter().chain(&self.ended).any(|count| *count > 0);
        self.active > 0 || counted || limited || judged
    }
}

/// The Services that have figures, at most [`MAX_SERVICES`], and how many were left out. Those that the maps have held
/// longest come first, so that a series which is there stays.
pub fn services<M: Maps>(reconciler: &Reconciler<M>) -> (Vec<ServiceFigures>, usize) {
    let arrays = reconciler.maps().arrays();
    let limit = |limit: u64| (limit != UNLIMITED).then_some(limit);
    let mut found: Vec<_> = reconciler
        .applied()
        .accounts()
        .filter_map(|account| {
            let mut figures = ServiceFigures {
                service: account.service.clone().filter(|service| !service.is_nodes())?,
                active: arrays.service(account.id)?.active.load(),
                reasons: [0; Reason::ALL.len()],
                ended: account.ended,
                returned: account.returned,
                ejected: account.ports.iter().any(|port| port.rule.outlier).then(|| {
                    let words = |entry: &Outlier| (entry.ejected.load(), entry.ejections.load());
                    arrays.outlier(account.id).map_or((0, 0), words)
                }),
                max_connections: limit(account.max_connections),
                max_connections_per_backend: limit(account.max_connections_per_backend),
                traffic: (&account.traffic).into(),
            };
            let mut opened = 0;
            // A Service's first port is its account.
            let entries = account.ports.iter().map(|port| port.id).filter(|id| *id != account.id);
            for id in entries.chain([account.id]) {
                opened += arrays.service(id).map_or(0, |entry| entry.opened.load());
                for (sum, cell) in figures.reasons.iter_mut().zip(arrays.reasons(id).unwrap_or_default()) {
                    *sum += cell.load();
                }
            }
            // The hot path counts every admission in one place.
            let otherwise = Reason::OPENED_OTHERWISE.map(|reason| figures.reasons[reason as usize]);
            figures.reasons[Reason::Selected as usize] = opened.saturating_sub(otherwise.iter().sum());
            figures.has_any().then_some((account.id, figures))
        })
        .collect();
    found.sort_unstable_by_key(|(id, _)| id.0);
    let left_out = found.len().saturating_sub(MAX_SERVICES);
    found.truncate(MAX_SERVICES);
    (found.into_iter().map(|(_, figures)| figures).collect(), left_out)
}
