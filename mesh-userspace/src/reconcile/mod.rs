//! Brings the maps in line with what Services should be, whatever fails, and frees what no program can see any more.
//!
//! | module | holds |
//! |---|---|
//! | [`pending`] | Services that are not yet as they should be, and when they are tried again |
//! | `sync` | doing the steps, hashes in batches |
//! | `retire` | grace periods, and what becomes free after one |
//! | [`adopt`](mod@adopt) | taking over what an earlier agent left |
//! | [`audit`](mod@audit) | recounting connections |
//! | [`ending`] | which backends' connections are to be ended, and when |
//! | [`counts`] | figures and names for the API |

pub mod adopt;
pub mod audit;
pub mod counts;
pub mod ending;
pub mod pending;
mod retire;
mod sync;

#[cfg(test)]
mod tests;

pub use audit::{Audit, Counted, Drift};
pub use counts::{BackendCounts, PortCounts, ServiceCounts};
pub use ending::Ending;
pub use pending::{Pending, Problem, State};
pub use retire::GraceTicket;

use crate::maps::Maps;
use crate::model::{Probe, ServiceKey};
use crate::plan::applied::Epoch;
use crate::plan::{Applied, DesiredService, Ended, Endings, Subject};
use mesh_common::tables::ServiceId;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Owns the maps. The owner of the cluster's state calls [`set`](Self::set) for each Service that changed, then
/// [`sync`](Self::sync); it runs the grace periods that [`begin_grace`](Self::begin_grace) asks for elsewhere.
#[derive(Debug)]
pub struct Reconciler<M> {
    maps: M,
    applied: Applied,
    pending: BTreeMap<Subject, Pending>,
    /// Elements were deleted in this epoch: until a grace period has passed no hash is changed.
    gate: Option<Epoch>,
    /// The grace period that is under way.
    grace: Option<Epoch>,
    /// An earlier agent's accounts are recognised: until every source has reported.
    adopting: bool,
    /// Every source has reported: what no Service has claimed is to go.
    forget: bool,
    /// How often a Service could not be brought in line, and how often one was tried again.
    tries: Tries,
    /// What the last audit found off.
    suspects: HashMap<Counted, audit::Suspect>,
    /// When the last audit was, nanoseconds of the monotonic clock; 0 before the first.
    audited: u64,
    /// Connections whose SYN had not been sent at the last audit: when each was opened, by cookie.
    unconfirmed: HashMap<u64, u64>,
}

/// Writes that did not work, since the agent started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tries {
    /// Services that could not be brought in line, each time.
    pub failures: u64,
    /// Services that were tried again after a failure, each time.
    pub retries: u64,
}

impl<M: Maps> Reconciler<M> {
    /// For maps that are empty: see [`Reconciler::adopt`] for maps that an earlier agent may have filled.
    pub fn new(maps: M) -> Self {
        let applied = Applied::new(maps.sizes());
        Self::with(maps, applied)
    }

    fn with(maps: M, applied: Applied) -> Self {
        Self {
            maps,
            applied,
            pending: BTreeMap::new(),
            gate: None,
            grace: None,
            adopting: true,
            forget: false,
            tries: Tries::default(),
            suspects: HashMap::new(),
            audited: 0,
            unconfirmed: HashMap::new(),
        }
    }

    /// What a Service should be from now on; `None` for one that is no more. Takes effect with the next `sync`.
    pub fn set(&mut self, service: ServiceKey, desired: Option<DesiredService>) {
        self.pending.insert(Subject::Service(service), Pending { desired, state: State::Due });
    }

    /// Every source has reported its first full list, and `set` was called for all of it: the next `sync` removes what
    /// an earlier agent left and no Service has claimed.
    pub fn first_list_done(&mut self) {
        self.forget = true;
    }

    /// Whether anything is to be done now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.forget || self.pending.values().any(|pending| pending.is_due(now))
    }

    /// When the next Service that failed is tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.pending.values().filter_map(Pending::retry_at).min()
    }

    /// What is not yet as it should be, and why.
    pub fn pending(&self) -> impl Iterator<Item = (&Subject, &Pending)> {
        self.pending.iter()
    }

    /// Whether a Service is not yet as it should be.
    pub fn is_pending(&self, service: &ServiceKey) -> bool {
        self.pending.contains_key(&Subject::Service(service.clone()))
    }

    /// Writes that did not work.
    pub fn tries(&self) -> Tries {
        self.tries
    }

    /// Whose connections may not last for any time, by the entry of the port, if that has changed since the last call.
    pub fn take_lifetimes(&mut self) -> Option<BTreeMap<ServiceId, Endings>> {
        self.applied.take_lifetimes()
    }

    /// Whose ejected backends are asked whether they are back, by account, if that has changed since the last call.
    pub fn take_probes(&mut self) -> Option<BTreeMap<ServiceId, Probe>> {
        self.applied.take_probes()
    }

    /// Notes that a backend of this account came back since it answered the agent.
    pub fn note_returned(&mut self, account: ServiceId) {
        self.applied.note_returned(account);
    }

    /// Notes that the agent ended a connection of this account.
    pub fn note_ended(&mut self, account: ServiceId, why: Ended) {
        self.applied.note_ended(account, why);
    }

    /// What the maps hold.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The maps.
    pub fn maps(&self) -> &M {
        &self.maps
    }

    /// The maps, to be read or given up: what is changed here is not noticed.
    pub fn maps_mut(&mut self) -> &mut M {
        &mut self.maps
    }
}
