//! Grace periods, and what becomes free after one.

use super::{Reconciler, State};
use crate::maps::Maps;
use crate::plan::MapOp;
use crate::plan::applied::Epoch;
use mesh_common::tables::{BackendId, ServiceId};
use std::collections::BTreeSet;
use std::io;

/// A grace period to be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "wait with `maps::grace::Grace::wait`, then call `end_grace`"]
pub struct GraceTicket(Epoch);

impl<M: Maps> Reconciler<M> {
    /// The grace period that is wanted, if one is and none is under way. The caller waits, on another thread, and then
    /// calls [`end_grace`](Self::end_grace).
    pub fn begin_grace(&mut self) -> Option<GraceTicket> {
        if self.grace.is_some() || !self.applied.quarantine.wants_grace() {
            return None;
        }
        let epoch = self.applied.end_epoch();
        self.grace = Some(epoch);
        Some(GraceTicket(epoch))
    }

    /// The wait is over; when it failed, the next `begin_grace` asks anew. What waited is due then: call `sync`.
    pub fn end_grace(&mut self, ticket: GraceTicket, result: &io::Result<()>) {
        if self.grace == Some(ticket.0) {
            self.grace = None;
        }
        if let Err(error) = result {
            tracing::warn!(%error, "a grace period could not be waited for; trying again");
            return;
        }
        self.applied.release(ticket.0);
        if self.gate.is_some_and(|epoch| self.applied.quarantine.has_passed(epoch)) {
            self.gate = None;
            for pending in self.pending.values_mut() {
                if let State::Waiting { .. } = pending.state {
                    pending.state = State::Due;
                }
            }
        }
        self.retire();
    }

    /// Frees what counts nothing any more and what no running program can have seen. Called after each grace period,
    /// and from time to time while connections to what is gone are open.
    pub fn retire(&mut self) {
        let quarantine = &self.applied.quarantine;
        let arrays = self.maps.arrays();
        let counts_nothing = |id: ServiceId| arrays.service(id).is_none_or(|entry| entry.active.load() == 0);
        let is_idle = |id: BackendId| arrays.backend(id).is_none_or(|entry| entry.active.load() == 0);

        let gone = self.applied.gone.iter();
        let gone = gone.filter(|(id, gone)| quarantine.has_passed(gone.since) && is_idle(**id));
        let backends: Vec<BackendId> = gone.map(|(id, _)| *id).collect();

        let leaving = self.applied.leaving.iter();
        let leaving = leaving.filter(|(_, port)| quarantine.has_passed(port.since) && counts_nothing(port.account));
        let ports: Vec<ServiceId> = leaving.map(|(id, _)| *id).collect();

        let empty = self.applied.empty.iter();
        let empty = empty.filter(|(id, since)| quarantine.has_passed(**since) && counts_nothing(**id));
        let accounts: Vec<ServiceId> = empty.map(|(id, _)| *id).collect();

        for id in backends {
            self.free(&MapOp::RetireBackend { id });
        }
        for id in ports {
            self.retire_port(id);
        }
        let in_use: BTreeSet<ServiceId> = self.applied.leaving.values().map(|port| port.account).collect();
        for id in accounts.into_iter().filter(|id| !in_use.contains(id)) {
            if self.applied.account(id).is_some_and(|account| account.is_empty() && account.gone.is_empty()) {
                self.free(&MapOp::RetireService { id });
            }
        }
    }

    /// Frees the entry of a closed port.
    pub(super) fn retire_port(&mut self, id: ServiceId) {
        if self.applied.account(id).is_some() {
            self.applied.forget_port(id);
        } else {
            self.free(&MapOp::RetireService { id });
        }
    }

    fn free(&mut self, op: &MapOp) {
        if let Err(error) = self.write(op) {
            tracing::warn!(%error, "{op}"); // it stays as it is: the next call tries again
        }
    }
}
