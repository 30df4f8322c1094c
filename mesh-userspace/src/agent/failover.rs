//! Following ejections where a policy has an order of places: where all of the nearest backends are out, the next take over.
//!
//! The programs eject by themselves and pass over who is out. Which backends they choose among is the agent's to say, so it looks
//! when they tell of an ejection, at every recount, and while anyone is out.

use super::engine::Engine;
use crate::maps::Maps as _;
use crate::model::ServiceKey;
use crate::plan::BackendKey;
use mesh_common::reason::Reason;
use mesh_common::tables::{Event, ServiceId};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often those that are out are looked at, to see them come back.
const WHILE_OUT: Duration = Duration::from_millis(500);

/// When to look, and at whom.
#[derive(Debug, Default)]
pub struct Failovers {
    /// At all Services that have an order.
    all: bool,
    /// At the Services of these entries of `SERVICES`.
    noted: BTreeSet<ServiceId>,
    next: Option<Instant>,
}

impl Failovers {
    /// All are to be looked at, now.
    pub fn wake(&mut self) {
        self.all = true;
        self.next = Some(Instant::now());
    }

    /// An event was read.
    pub fn note(&mut self, event: &Event) {
        if event.reason == Reason::Ejected as u8 {
            self.noted.insert(event.service);
            self.next = Some(Instant::now());
        }
    }
}

impl Engine {
    /// When to look at who is ejected; not before the first full list.
    pub fn next_failover(&self) -> Option<Instant> {
        self.failovers.next.filter(|_| self.state.is_synced())
    }

    /// Looks, if it is time; whether Services are to be compiled anew for it.
    pub fn follow_ejections(&mut self) -> bool {
        let now = Instant::now();
        if self.next_failover().is_none_or(|next| now < next) {
            return false;
        }
        let mut services = self.state.with_ejected();
        let noted = std::mem::take(&mut self.failovers.noted);
        services.extend(noted.into_iter().filter_map(|id| self.reconciler.applied().entry(id)?.0.service.clone()));
        if std::mem::take(&mut self.failovers.all) {
            services.extend(self.state.failing_over());
        }
        let mut changed = false;
        for service in &services {
            let out = if self.state.fails_over(service) { self.ejected_of(service) } else { BTreeSet::new() };
            changed |= self.state.note_ejected(service, out);
        }
        self.failovers.next = (!self.state.with_ejected().is_empty()).then_some(now + WHILE_OUT);
        changed
    }

    /// The backends of a Service that are ejected now.
    fn ejected_of(&self, service: &ServiceKey) -> BTreeSet<BackendKey> {
        let Some(account) = self.reconciler.applied().account_of(service) else { return BTreeSet::new() };
        let outlier = self.reconciler.maps().arrays().outlier(account.id);
        if outlier.is_none_or(|outlier| outlier.ejected.load() == 0) {
            return BTreeSet::new();
        }
        let Some(counts) = self.reconciler.service_counts(service) else { return BTreeSet::new() };
        counts.backends.iter().filter(|backend| counts.is_out(backend)).map(|backend| backend.key).collect()
    }
}
