//! What a step that succeeded means for what the maps hold.

use super::{Account, Applied, AppliedBackend, AppliedPort, Freed, Gone, Leaving};
use crate::model::Drain;
use crate::plan::{BackendKey, Endings, MapOp};
use mesh_common::tables::{BackendId, ServiceId, SlotRange};

impl Applied {
    /// Notes that `op` was done.
    pub fn apply(&mut self, op: &MapOp) {
        match *op {
            MapOp::OpenAccount { id, ref service, nodes, max_connections, max_connections_per_backend } => {
                let account = Account::new(id, service.clone());
                let account = Account { nodes, max_connections, max_connections_per_backend, ..account };
                if let Some(service) = service {
                    self.names.insert(service.clone(), id);
                }
                self.service_ids.take(id.0);
                self.entries.insert(id, id);
                self.accounts.insert(id, Box::new(account));
                self.weigh(id);
            }
            MapOp::SetMaxConnections { account, limit } => {
                self.change(account, |account| account.max_connections = limit);
            }
            MapOp::SetMaxConnectionsPerBackend { account, limit } => {
                self.change(account, |account| account.max_connections_per_backend = limit);
            }
            MapOp::SetTraffic { account, traffic } => self.change(account, |account| account.traffic = traffic),
            MapOp::SetOutlier { account, outlier } => self.change(account, |account| account.outlier = outlier),
            MapOp::SetWeight { key, account, weight, .. } => self.change(account, |account| {
                if let Some(backend) = account.backends.get_mut(&key) {
                    backend.weight = weight;
                }
            }),
            MapOp::CreateBackend { id, key, account, weight } => {
                self.backend_ids.take(id.0);
                let ends = Drain::default().ends_after(key.protocol); // until the Service says so: remember
                self.change(account, |account| {
                    account.backends.insert(key, AppliedBackend { id, weight, ends });
                });
            }
            MapOp::ReviveBackend { id, key, account, weight } => {
                let ends = self.gone.remove(&id).and_then(|gone| gone.ends);
                self.change(account, |account| {
                    account.gone.remove(&key);
                    account.backends.insert(key, AppliedBackend { id, weight, ends });
                });
            }
            // Nothing refers to it: it stays free until it is published.
            MapOp::WriteSlots { .. } => {}
            MapOp::RewriteSlots { id, ref backends, .. } => self.change_port(id, |port| {
                for (slot, backend) in port.slots.iter_mut().zip(backends) {
                    *slot = *backend;
                }
            }),
            MapOp::OpenPort { id, rule, affinity_timeout, dialled } => {
                let (frontends, range, slots) = (Vec::new(), SlotRange::default(), Vec::new());
                let endings = Endings::default();
                let port = AppliedPort { id, dialled, frontends, rule, affinity_timeout, range, slots, endings };
                self.open(rule.account, port);
            }
            MapOp::SetRule { id, rule } => self.change_port(id, |port| port.rule = rule),
            MapOp::SetAffinityTimeout { id, timeout } => {
                self.change_port(id, |port| port.affinity_timeout = timeout);
            }
            MapOp::Publish { id, range, ref backends } => self.publish(id, range, backends.clone()),
            MapOp::SetFilter { ref address } => self.filter.set(address),
            MapOp::InsertFrontend { key, id } => {
                self.frontends.insert(key, id);
                self.filter.need(&key.address);
                self.change_port(id, |port| port.frontends.push(key));
            }
            MapOp::InsertAddress { address, account } => {
                self.addresses.insert(address, account);
                self.filter.need(&address);
                self.change(account, |account| push(&mut account.addresses, address));
            }
            MapOp::DeleteFrontend { ref key, id } => {
                self.quarantine.stir();
                if self.frontends.remove(key).is_some() {
                    self.filter.release(&key.address);
                }
                let now = self.quarantine.now();
                if let Some(account) = self.entries.get(&id).and_then(|account| self.accounts.get_mut(account)) {
                    account.inherits = account.inherits.map(|_| now);
                }
                self.change_port(id, |port| port.frontends.retain(|other| other != key));
            }
            MapOp::DeleteAddress { ref address, account } => {
                self.quarantine.stir();
                if self.addresses.remove(address).is_some() {
                    self.filter.release(address);
                }
                self.change(account, |account| account.addresses.retain(|other| other != address));
            }
            MapOp::ClosePort { id } => self.close(id),
            MapOp::MarkGone { id, key, account } => self.mark_gone(id, key, account),
            MapOp::ClearFilter { bit } => self.filter.clear(bit),
            MapOp::RetireBackend { id } => self.retire_backend(id),
            MapOp::RetireService { id } => self.retire(id),
        }
    }

    fn mark_gone(&mut self, id: BackendId, key: BackendKey, account: ServiceId) {
        let since = self.quarantine.now();
        let mut ends = None;
        self.change(account, |account| {
            ends = account.backends.remove(&key).and_then(|backend| backend.ends);
            account.gone.insert(key, id);
        });
        self.gone.insert(id, Gone { account, key, since, ends });
        self.quarantine.stir();
    }

    fn retire_backend(&mut self, id: BackendId) {
        if let Some(gone) = self.gone.remove(&id)
            && let Some(account) = self.accounts.get_mut(&gone.account)
            && account.gone.get(&gone.key) == Some(&id)
        {
            account.gone.remove(&gone.key);
        }
        self.quarantine.put(Freed::Backend(id));
    }

    fn change(&mut self, id: ServiceId, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.get_mut(&id) else {
            debug_assert!(false, "a step on account {}, which is not open", id.0);
            return;
        };
        change(account);
        self.weigh(id);
    }

    fn change_port(&mut self, id: ServiceId, change: impl FnOnce(&mut AppliedPort)) {
        let Some(&account) = self.entries.get(&id) else { return };
        if let Some(port) = self.accounts.get_mut(&account).and_then(|account| account.port_mut(id)) {
            change(port);
        }
    }

    /// Notes since when an account holds nothing.
    pub(crate) fn weigh(&mut self, id: ServiceId) {
        if self.account(id).is_some_and(Account::is_empty) {
            let now = self.quarantine.now();
            self.empty.entry(id).or_insert(now);
            self.quarantine.stir();
        } else {
            self.empty.remove(&id);
        }
    }

    fn open(&mut self, account: ServiceId, port: AppliedPort) {
        self.service_ids.take(port.id.0);
        self.entries.insert(port.id, account);
        self.change(account, |account| push(&mut account.ports, port));
    }

    fn publish(&mut self, id: ServiceId, range: SlotRange, backends: Vec<BackendId>) {
        let mut old = SlotRange::default();
        self.change_port(id, |port| {
            old = std::mem::replace(&mut port.range, range);
            port.slots = backends;
        });
        if old.len > 0 && old.base == range.base && range.len > 0 {
            // Shrunk in place: the tail goes.
            old = SlotRange { base: range.base + range.len, len: old.len.saturating_sub(range.len) };
        } else {
            let taken = self.arena.take(range);
            debug_assert!(taken, "{range:?} was published but is not free");
        }
        if old.len > 0 {
            self.quarantine.put(Freed::Slots(old));
        }
    }

    fn close(&mut self, id: ServiceId) {
        let Some(&account) = self.entries.get(&id) else { return };
        let since = self.quarantine.now();
        let mut closed = None;
        self.change(account, |account| {
            if let Some(position) = account.ports.iter().position(|port| port.id == id) {
                closed = Some(account.ports.swap_remove(position));
            }
        });
        let Some(port) = closed else { return };
        self.lifetimes.1 |= self.lifetimes.0.remove(&id).is_some();
        if port.range.len > 0 {
            self.quarantine.put(Freed::Slots(port.range));
        }
        self.leaving.insert(id, Leaving { account, dialled: port.dialled, since });
        self.quarantine.stir();
    }

    /// Notes that nothing names a closed port any more. Its entry is free, unless it is the account's own.
    fn retire(&mut self, id: ServiceId) {
        self.leaving.remove(&id);
        self.empty.remove(&id);
        self.entries.remove(&id);
        self.probes.1 |= self.probes.0.remove(&id).is_some();
        if let Some(service) = self.accounts.remove(&id).and_then(|account| account.service) {
            self.names.remove(&service);
        }
        self.quarantine.put(Freed::Service(id));
    }
}

/// Most Services have one of each, where a list would make room for four.
fn push<T>(list: &mut Vec<T>, one: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(one);
}
