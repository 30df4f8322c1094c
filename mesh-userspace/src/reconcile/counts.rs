//! Figures and names for the API, read from the maps as they are now.

use super::Reconciler;
use crate::agent::monotonic;
use crate::maps::Maps;
use crate::maps::arrays::BackendCell;
use crate::model::ServiceKey;
use crate::plan::BackendKey;
use mesh_common::outlier::Standing;
use mesh_common::reason::Reason;
use mesh_common::select::least_connections::Load;
use mesh_common::tables::{BackendId, BackendState, FrontendKey, OutlierRule, Rule, ServiceId};
use std::collections::BTreeSet;

/// What is counted for one Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceCounts {
    /// The account.
    pub account: ServiceId,
    /// Connections open now, over all ports.
    pub active: u64,
    /// The limit in force.
    pub max_connections: u64,
    /// The limit in force.
    pub max_connections_per_backend: u64,
    /// When its backends are ejected; `None` for never.
    pub outlier: Option<OutlierRule>,
    /// The median time to the first answers of all backends, nanoseconds; 0 where that is not known.
    pub answer: u64,
    /// Backends that count as ejected.
    pub ejected: u64,
    /// Ejections since the account was opened.
    pub ejections: u64,
    /// Why connections to its addresses went nowhere though no port was meant: counted on the account. By
    /// [`Reason`]'s number.
    pub account_reasons: [u64; Reason::ALL.len()],
    /// Its live ports, in no order.
    pub ports: Vec<PortCounts>,
    /// Its backends, those that are gone after the others.
    pub backends: Vec<BackendCounts>,
}

/// What is counted for one port of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortCounts {
    /// The entry.
    pub id: ServiceId,
    /// What clients dial.
    pub frontends: Vec<FrontendKey>,
    /// How a slot is picked.
    pub rule: Rule,
    /// Connections admitted since the entry was made.
    pub opened: u64,
    /// Choices and refusals by [`Reason`]'s number; `Selected` is what `opened` has beyond `Spilled`.
    pub reasons: [u64; Reason::ALL.len()],
    /// The backends that take connections, a slot each.
    pub slots: Vec<BackendId>,
}

/// What is counted for one backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendCounts {
    /// The entry.
    pub id: BackendId,
    /// The endpoint.
    pub key: BackendKey,
    /// Whether its endpoint is there.
    pub state: BackendState,
    /// Whether a port gives it new connections.
    pub in_slots: bool,
    /// Connections open now.
    pub active: u64,
    /// Its weight as the programs compare it.
    pub weight: u64,
    /// Whether it fails, and is ejected.
    pub standing: Standing,
    /// The lower quartile of the times to its first answers, nanoseconds; 0 where that is not known.
    pub answer: u64,
}

impl BackendCounts {
    /// Its load, as the programs compare it.
    pub fn load(&self) -> Load {
        Load { active: self.active, weight: self.weight }
    }
}

impl ServiceCounts {
    /// Whether a backend of the Service is ejected now, and that is not ignored.
    pub fn is_out(&self, backend: &BackendCounts) -> bool {
        let ignored = self.outlier.is_none_or(|rule| self.ejected > rule.ignored_above);
        !ignored && backend.standing.left(monotonic() / 1_000_000) > 0
    }
}

impl<M: Maps> Reconciler<M> {
    /// What is counted for a Service; `None` when the maps hold nothing of it.
    pub fn service_counts(&self, service: &ServiceKey) -> Option<ServiceCounts> {
        let account = self.applied.account_of(service)?;
        let arrays = self.maps.arrays();
        let entry = arrays.service(account.id)?;
        let ports: Vec<PortCounts> = account
            .ports
            .iter()
            .map(|port| PortCounts {
                id: port.id,
                frontends: port.frontends.clone(),
                rule: port.rule,
                opened: arrays.service(port.id).map_or(0, |entry| entry.opened.load()),
                reasons: self.reasons(port.id),
                slots: port.slots.clone(),
            })
            .collect();
        let in_slots: BTreeSet<BackendId> = ports.iter().flat_map(|port| &port.slots).copied().collect();
        let figures = |id| {
            let figures = |entry: &BackendCell| {
                (entry.active.load(), entry.weight.load(), entry.standing.load(), entry.answer.load())
            };
            arrays.backend(id).map_or((0, 1, 0, 0), figures)
        };
        let serving = account.backends.iter().map(|(&key, backend)| (key, backend.id, BackendState::Serving));
        let gone = account.gone.iter().map(|(&key, &id)| (key, id, BackendState::Gone));
        let backends = serving.chain(gone).map(|(key, id, state)| {
            let (active, weight, standing, answer) = figures(id);
            let standing = Standing::unpack(standing);
            BackendCounts { id, key, state, in_slots: in_slots.contains(&id), active, weight, standing, answer }
        });
        Some(ServiceCounts {
            account: account.id,
            active: entry.active.load(),
            max_connections: account.max_connections,
            max_connections_per_backend: account.max_connections_per_backend,
            outlier: account.ports.iter().any(|port| port.rule.outlier).then_some(account.outlier),
            answer: arrays.traffic(account.id).map_or(0, |entry| entry.answer.load()),
            ejected: arrays.outlier(account.id).map_or(0, |entry| entry.ejected.load()),
            ejections: arrays.outlier(account.id).map_or(0, |entry| entry.ejections.load()),
            account_reasons: self.reasons(account.id),
            backends: backends.collect(),
            ports,
        })
    }

    fn reasons(&self, id: ServiceId) -> [u64; Reason::ALL.len()] {
        let mut counts = [0; Reason::ALL.len()];
        for (count, cell) in counts.iter_mut().zip(self.maps.arrays().reasons(id).unwrap_or_default()) {
            *count = cell.load();
        }
        counts
    }

    /// Whose entry of `SERVICES` this is: the Service, and the frontend that names the port (`None` for an account that
    /// is no port). For the names in events; `None` for an entry that is free, or of what an earlier agent left.
    pub fn name_of(&self, id: ServiceId) -> Option<(&ServiceKey, Option<FrontendKey>)> {
        let (account, port) = self.applied.entry(id)?;
        Some((account.service.as_ref()?, port))
    }
}
