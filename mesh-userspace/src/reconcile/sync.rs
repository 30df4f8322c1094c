//! Doing the steps of all Services that are due: arrays Service by Service, hashes in batches over all.

use super::Reconciler;
use super::pending::{Pending, Problem, State, backoff};
use crate::maps::{MapError, Maps, Stopped};
use crate::plan::{MapOp, Phase, Refusal, Subject, Table, diff};
use mesh_common::address::Address;
use mesh_common::tables::{FrontendKey, ServiceId};
use std::time::Instant;

/// A Service on its way.
struct Work {
    subject: Subject,
    pending: Pending,
    /// The steps from the first on a hash on.
    ops: Vec<MapOp>,
    /// Something that later steps need did not work.
    stuck: bool,
    /// It waits for a grace period.
    waits: bool,
    held: Vec<Problem>,
    problems: Vec<Problem>,
}

/// A hash whose elements the batches below insert.
trait Element: Copy {
    fn insert<M: Maps>(maps: &mut M, elements: &[(Self, ServiceId)]) -> Result<(), Stopped>;
    fn look_up<M: Maps>(maps: &M, key: &Self) -> Result<Option<ServiceId>, MapError>;
    fn delete<M: Maps>(maps: &mut M, key: &Self) -> Result<(), MapError>;
    fn refusal(self, size: u32) -> Refusal;
    fn op(self, id: ServiceId) -> MapOp;
    const TABLE: Table;
}

impl Element for FrontendKey {
    fn insert<M: Maps>(maps: &mut M, elements: &[(Self, ServiceId)]) -> Result<(), Stopped> {
        maps.insert_frontends(elements)
    }
    fn look_up<M: Maps>(maps: &M, key: &Self) -> Result<Option<ServiceId>, MapError> {
        maps.frontend(key)
    }
    fn delete<M: Maps>(maps: &mut M, key: &Self) -> Result<(), MapError> {
        maps.delete_frontend(key)
    }
    fn refusal(self, size: u32) -> Refusal {
        Refusal::Frontends { key: self, size }
    }
    fn op(self, id: ServiceId) -> MapOp {
        MapOp::InsertFrontend { key: self, id }
    }
    const TABLE: Table = Table::Frontends;
}

impl Element for Address {
    fn insert<M: Maps>(maps: &mut M, elements: &[(Self, ServiceId)]) -> Result<(), Stopped> {
        maps.insert_addresses(elements)
    }
    fn look_up<M: Maps>(maps: &M, key: &Self) -> Result<Option<ServiceId>, MapError> {
        maps.address(key)
    }
    fn delete<M: Maps>(maps: &mut M, key: &Self) -> Result<(), MapError> {
        maps.delete_address(key)
    }
    fn refusal(self, size: u32) -> Refusal {
        Refusal::Addresses { address: self, size }
    }
    fn op(self, account: ServiceId) -> MapOp {
        MapOp::InsertAddress { address: self, account }
    }
    const TABLE: Table = Table::Addresses;
}

impl<M: Maps> Reconciler<M> {
    /// Brings every Service that is due in line, as far as it goes now.
    pub fn sync(&mut self, now: Instant) {
        let due = self.pending.iter().filter(|(_, pending)| pending.is_due(now));
        if self.adopting {
            self.applied.claim(due.clone().filter_map(|(subject, pending)| match (subject, &pending.desired) {
                (Subject::Service(service), Some(desired)) => Some((service, desired)),
                _ => None,
            }));
        }
        let due: Vec<Subject> = due.map(|(subject, _)| subject.clone()).collect();
        let mut works: Vec<Work> = due.into_iter().filter_map(|subject| self.build(subject)).collect();
        if std::mem::take(&mut self.forget) {
            self.adopting = false;
            for id in self.applied.orphans() {
                let subject = Subject::Orphan(id);
                self.pending.insert(subject.clone(), Pending { desired: None, state: State::Due });
                works.extend(self.build(subject));
            }
        }
        if self.gate.is_none() {
            self.insert(&mut works);
        } else {
            // A deleted element may be in a program's hands, and the next insert would put another key's value there.
            for work in works.iter_mut().filter(|work| work.ops.iter().any(|op| op.phase() == Phase::Insert)) {
                work.waits = true;
            }
        }
        // What goes would make what comes wait longer: as long as something waits to come, it does so, too.
        let waits = |pending: &Pending| matches!(pending.state, State::Waiting { .. });
        if self.gate.is_none() || !(works.iter().any(|work| work.waits) || self.pending.values().any(waits)) {
            for work in &mut works {
                self.delete(work);
            }
        } else {
            works.iter_mut().filter(|work| !work.ops.is_empty()).for_each(|work| work.waits = true);
        }
        for bit in self.applied.idle_bits() {
            if self.write(&MapOp::ClearFilter { bit }).is_err() {
                break; // it stays idle: the next sync tries again
            }
        }
        for work in works {
            self.finish(work, now);
        }
    }

    /// Takes a Service from the list and does the stores to arrays that come before the hashes.
    fn build(&mut self, subject: Subject) -> Option<Work> {
        let pending = self.pending.remove(&subject)?;
        self.tries.retries += u64::from(pending.attempts() > 0);
        if let (Subject::Service(service), Some(desired)) = (&subject, &pending.desired) {
            self.applied.settle_inheritance(service, desired);
            self.applied.remember(service, desired);
        }
        let mut diff = diff(&subject, pending.desired.as_ref(), &self.applied);
        let built = diff.ops.iter().position(|op| op.phase() != Phase::Build).unwrap_or(diff.ops.len());
        let mut held = Vec::new();
        for &key in &diff.held {
            held.push(Problem::HeldFrontend { key, holder: self.holder(self.applied.frontend(&key)) });
        }
        for &address in &diff.held_addresses {
            held.push(Problem::HeldAddress { address, holder: self.holder(self.applied.address(&address)) });
        }
        let problems = diff.refusals.into_iter().map(Problem::Refused).collect();
        let ops = diff.ops.split_off(built);
        let waits = diff.unfinished;
        let mut work = Work { subject, pending, ops, stuck: false, waits, held, problems };
        for op in &diff.ops {
            if let Err(error) = self.write(op) {
                work.fail(error);
                return Some(work);
            }
        }
        if let (Subject::Service(service), Some(desired)) = (&work.subject, &work.pending.desired) {
            self.applied.remember(service, desired);
        }
        Some(work)
    }

    fn holder(&self, entry: Option<ServiceId>) -> Option<crate::model::ServiceKey> {
        self.applied.entry(entry?)?.0.service.clone()
    }

    /// Inserts what leads clients to what was built. No insert follows a delete until a grace period has passed.
    fn insert(&mut self, works: &mut [Work]) {
        for work in works.iter_mut().filter(|work| !work.stuck) {
            let mut filters = work.ops.iter().filter(|op| matches!(op, MapOp::SetFilter { .. }));
            if let Err(error) = filters.try_for_each(|op| self.write(op)) {
                work.fail(error);
            }
        }
        // What must go in a second try, because an element was found that should not be there.
        let frontends = self.insert_all::<FrontendKey>(works, |op| match *op {
            MapOp::InsertFrontend { key, id } => Some((key, id)),
            _ => None,
        });
        let addresses = self.insert_all::<Address>(works, |op| match *op {
            MapOp::InsertAddress { address, account } => Some((address, account)),
            _ => None,
        });
        self.delete_strays(&frontends);
        self.delete_strays(&addresses);
    }

    /// Inserts the elements of all Services that are not stuck; returns keys that hold another's value.
    fn insert_all<K: Element>(
        &mut self,
        works: &mut [Work],
        wanted: impl Fn(&MapOp) -> Option<(K, ServiceId)>,
    ) -> Vec<K> {
        let (mut elements, mut owners) = (Vec::new(), Vec::new());
        for (owner, work) in works.iter().enumerate().filter(|(_, work)| !work.stuck && !work.waits) {
            // An element counts only when its filter bit is set and, for an address, its frontends are in.
            if work.problems.iter().any(Problem::is_hash) {
                continue;
            }
            for element in work.ops.iter().filter_map(&wanted) {
                elements.push(element);
                owners.push(owner);
            }
        }
        let (mut at, mut strays) = (0, Vec::new());
        while at < elements.len() {
            let (done, error) = match K::insert(&mut self.maps, &elements[at..]) {
                Ok(()) => (elements.len() - at, None),
                Err(Stopped { done, error }) => (done, Some(error)),
            };
            for &(key, id) in &elements[at..at + done] {
                self.applied.apply(&key.op(id));
            }
            at += done;
            let (Some(mut error), Some(&(key, id))) = (error, elements.get(at)) else { continue };
            // Whatever the call said: the table knows whether the element is there.
            match K::look_up(&self.maps, &key) {
                Ok(Some(found)) if found == id => {
                    self.applied.apply(&key.op(id));
                    at += 1;
                    continue;
                }
                Ok(Some(_)) => {
                    strays.push(key);
                    works[owners[at]].waits = true;
                    at += owners[at..].iter().take_while(|&&owner| owner == owners[at]).count();
                    continue;
                }
                Ok(None) => {}
                Err(failed) => error = failed,
            }
            let work = &mut works[owners[at]];
            work.problems.push(match error {
                MapError::Full(_) => Problem::Refused(key.refusal(self.applied.sizes.of(K::TABLE))),
                error => Problem::Map(error),
            });
            // The rest of this Service waits; the others go on.
            at += owners[at..].iter().take_while(|&&owner| owner == owners[at]).count();
        }
        strays
    }

    fn delete_strays<K: Element>(&mut self, strays: &[K]) {
        for key in strays {
            // When it fails, the insert finds it again.
            drop(self.delete_element(key));
        }
    }

    fn delete_element<K: Element>(&mut self, key: &K) -> Result<(), MapError> {
        self.close_gate();
        match K::delete(&mut self.maps, key) {
            // Whatever the call said: the table knows whether the element is there.
            Err(error) if !matches!(K::look_up(&self.maps, key), Ok(None)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes, then does what comes after, of one Service.
    fn delete(&mut self, work: &mut Work) {
        if work.stuck {
            return;
        }
        for op in &work.ops {
            let result = match (op.phase(), op) {
                (Phase::Insert, _) => continue,
                (_, MapOp::DeleteFrontend { key, .. }) => self.delete_element(key).map(|()| self.applied.apply(op)),
                (_, MapOp::DeleteAddress { address, .. }) => {
                    self.delete_element(address).map(|()| self.applied.apply(op))
                }
                _ => self.write(op),
            };
            if let Err(error) = result {
                work.fail(error);
                return;
            }
        }
    }

    /// Elements go: no hash is changed again before a grace period has passed.
    pub(super) fn close_gate(&mut self) {
        self.gate = Some(self.applied.quarantine.now());
        self.applied.quarantine.stir();
    }

    /// Does a step on arrays and notes it.
    pub(super) fn write(&mut self, op: &MapOp) -> Result<(), MapError> {
        self.maps.write(op)?;
        self.applied.apply(op);
        Ok(())
    }

    /// Puts a Service that is not in line back on the list.
    fn finish(&mut self, work: Work, now: Instant) {
        let Work { subject, mut pending, waits, held, mut problems, .. } = work;
        if !problems.is_empty() {
            self.tries.failures += 1;
            let attempts = pending.attempts().saturating_add(1);
            problems.extend(held);
            pending.state = State::Failed { problems, attempts, retry_at: now + backoff(attempts) };
        } else if waits || !held.is_empty() {
            pending.state = State::Waiting { held };
        } else {
            return;
        }
        self.pending.insert(subject, pending);
    }
}

impl Work {
    fn fail(&mut self, error: MapError) {
        self.stuck = true;
        self.problems.push(Problem::Map(error));
    }
}

impl Problem {
    /// Whether a hash did not take an element.
    fn is_hash(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.table(), Table::Frontends | Table::Addresses),
            Self::Map(_) => true,
            Self::HeldFrontend { .. } | Self::HeldAddress { .. } => false,
        }
    }
}
