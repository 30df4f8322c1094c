//! The steps from what the maps hold of one Service to what they should hold, in an order that no reader notices.
//!
//! Backends, then slots, then the words of the entries, then what leads clients to them. After that removals, those
//! that clients meet first. What is then no longer reachable is freed by the reconciler after a grace period.

use super::applied::{Account, AppliedPort};
use super::refusal::PortName;
use super::{Applied, BackendKey, DesiredPort, DesiredService, MapOp, Refusal};
use crate::model::ServiceKey;
use mesh_common::address::Address;
use mesh_common::tables::{BackendId, FrontendKey, Rule, ServiceId, SlotRange, TrafficRule};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is brought in line: a Service, or what an earlier agent left of one that is no more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// A Service by its name.
    Service(ServiceKey),
    /// An account that no Service has claimed.
    Orphan(ServiceId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Orphan(id) => write!(f, "what an earlier agent left in SERVICES[{}]", id.0),
        }
    }
}

/// What to do for one Service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff {
    /// The steps, by [`MapOp::phase`].
    pub ops: Vec<MapOp>,
    /// What does not fit.
    pub refusals: Vec<Refusal>,
    /// Frontends that another entry still holds: the key must go, and a grace period pass, before it can come back.
    pub held: Vec<FrontendKey>,
    /// Addresses that another account still holds, likewise.
    pub held_addresses: Vec<Address>,
    /// More is to be done once a grace period has passed.
    pub unfinished: bool,
}

/// The steps that bring what the maps hold of `subject` to `desired`; `None` removes it.
pub fn diff(subject: &Subject, desired: Option<&DesiredService>, applied: &Applied) -> Diff {
    let account = match subject {
        Subject::Service(key) => applied.account_of(key),
        Subject::Orphan(id) => applied.account(*id),
    };
    let mut draft = Draft { applied, services: 0, backends: 0, slots: Vec::new(), diff: Diff::default() };
    match (account, desired) {
        (None, None) => {}
        (None, Some(desired)) => {
            let service = match subject {
                Subject::Service(key) => Some(key.clone()),
                Subject::Orphan(_) => None,
            };
            draft.open(service, desired);
        }
        (Some(account), Some(desired)) => draft.change(account, desired),
        (Some(account), None) => draft.remove_all(account),
    }
    draft.diff
}

/// A diff in the making, with what it has given out so far.
struct Draft<'a> {
    applied: &'a Applied,
    services: u32,
    backends: u32,
    slots: Vec<SlotRange>,
    diff: Diff,
}

impl Draft<'_> {
    fn push(&mut self, op: MapOp) {
        self.diff.ops.push(op);
    }

    fn next_service(&mut self) -> Option<ServiceId> {
        let id = self.applied.service_ids.nth(self.services)?;
        self.services += 1;
        Some(ServiceId(id))
    }

    fn next_backend(&mut self) -> Option<BackendId> {
        let id = self.applied.backend_ids.nth(self.backends)?;
        self.backends += 1;
        Some(BackendId(id))
    }

    fn open(&mut self, service: Option<ServiceKey>, desired: &DesiredService) {
        let Some(id) = self.next_service() else {
            let port = PortName(desired.ports.first().and_then(|port| port.frontends.first().copied()));
            let size = self.applied.sizes.services;
            self.diff.refusals.push(Refusal::Services { port, size });
            return;
        };
        let mut account = Account::new(id, service.clone());
        account.max_connections = desired.max_connections;
        account.max_connections_per_backend = desired.max_connections_per_backend;
        account.nodes = desired.nodes;
        self.push(MapOp::OpenAccount {
            id,
            service,
            nodes: desired.nodes,
            max_connections: desired.max_connections,
            max_connections_per_backend: desired.max_connections_per_backend,
        });
        self.change(&account, desired);
    }

    fn change(&mut self, account: &Account, desired: &DesiredService) {
        if account.inherits.is_some() {
            // Clients of a Service that is no more may still come in here: none of what they find may change.
            let wanted: BTreeSet<&FrontendKey> = desired.ports.iter().flat_map(|port| &port.frontends).collect();
            for port in &account.ports {
                for &key in port.frontends.iter().filter(|key| !wanted.contains(key)) {
                    self.push(MapOp::DeleteFrontend { key, id: port.id });
                }
            }
            self.diff.unfinished = true;
            return;
        }
        self.limits(account, desired);
        let ids = self.backends(account, desired);

        // Each desired port is the live one that clients reach by one of its frontends, or a fresh entry.
        let mut unmatched: Vec<&AppliedPort> = account.ports.iter().collect();
        let mut own_entry_free = account.port(account.id).is_none() && !self.applied.leaving.contains_key(&account.id);
        let mut entries: Vec<Option<ServiceId>> = Vec::with_capacity(desired.ports.len());
        for port in &desired.ports {
            let matched = unmatched.iter().position(|live| live.serves(port));
            let live = matched.map(|position| unmatched.swap_remove(position));
            let rule = Rule {
                account: account.id,
                algorithm: port.algorithm,
                hash: port.hash,
                traffic: desired.traffic != TrafficRule::default(),
                fenced: port.fenced,
                nodes: account.nodes,
                outlier: port.outlier,
            };
            entries.push(self.port(rule, live, port, &ids, &mut own_entry_free));
        }
        let closing: Vec<&AppliedPort> = unmatched;

        let late = self.mark_gone(account, &ids, &closing);
        self.insert(account, desired, &entries);
        self.delete(account, desired, &entries);
        for port in closing {
            self.push(MapOp::ClosePort { id: port.id });
        }
        self.diff.ops.extend(late);
    }

    fn limits(&mut self, account: &Account, desired: &DesiredService) {
        // While limits only count, before and after, none may refuse: they begin to only count before they change, and begin
        // to refuse after.
        let traffic = (account.traffic != desired.traffic)
            .then_some(MapOp::SetTraffic { account: account.id, traffic: desired.traffic });
        let (before, after) = if desired.traffic.observe { (traffic, None) } else { (None, traffic) };
        self.diff.ops.extend(before);
        if account.max_connections != desired.max_connections {
            self.push(MapOp::SetMaxConnections { account: account.id, limit: desired.max_connections });
        }
        if account.max_connections_per_backend != desired.max_connections_per_backend {
            let limit = desired.max_connections_per_backend;
            self.push(MapOp::SetMaxConnectionsPerBackend { account: account.id, limit });
        }
        self.diff.ops.extend(after);
        if account.outlier != desired.outlier {
            self.push(MapOp::SetOutlier { account: account.id, outlier: desired.outlier });
        }
    }

    /// Ids for all endpoints; one that the table has no room for is left out.
    fn backends(&mut self, account: &Account, desired: &DesiredService) -> BTreeMap<BackendKey, BackendId> {
        // What takes connections comes first: it matters most when room is short.
        let slots = desired.ports.iter().flat_map(|port| &port.slots);
        let kept = desired.ports.iter().flat_map(|port| &port.kept);
        let mut ids = BTreeMap::new();
        let mut left_out: BTreeSet<BackendKey> = BTreeSet::new();
        for &key in slots.chain(kept) {
            if ids.contains_key(&key) || left_out.contains(&key) {
                continue;
            }
            let weight = desired.weights.get(&key).copied().unwrap_or(1);
            let id = if let Some(backend) = account.backends.get(&key) {
                if backend.weight != weight {
                    self.push(MapOp::SetWeight { id: backend.id, key, account: account.id, weight });
                }
                backend.id
            } else if let Some(&id) = account.gone.get(&key) {
                self.push(MapOp::ReviveBackend { id, key, account: account.id, weight });
                id
            } else if let Some(id) = self.next_backend() {
                self.push(MapOp::CreateBackend { id, key, account: account.id, weight });
                id
            } else {
                left_out.insert(key);
                continue;
            };
            ids.insert(key, id);
        }
        if let Some(&first) = left_out.first() {
            let (left_out, size) = (left_out.len() as u32, self.applied.sizes.backends);
            self.diff.refusals.push(Refusal::Backends { left_out, first, size });
        }
        ids
    }

    /// Brings one port's slots and rule in line; `None` when there is no entry for it.
    fn port(
        &mut self,
        rule: Rule,
        live: Option<&AppliedPort>,
        desired: &DesiredPort,
        ids: &BTreeMap<BackendKey, BackendId>,
        own_entry_free: &mut bool,
    ) -> Option<ServiceId> {
        let name = PortName(desired.frontends.first().copied());
        let slots: Vec<BackendId> = desired.slots.iter().filter_map(|key| ids.get(key).copied()).collect();
        let affinity_timeout = desired.affinity_timeout;
        let Some(live) = live else {
            // The Service's first port shares its account's cache line.
            let id = if std::mem::take(own_entry_free) { Some(rule.account) } else { self.next_service() };
            let Some(id) = id else {
                self.diff.refusals.push(Refusal::Services { port: name, size: self.applied.sizes.services });
                return None;
            };
            let range = self.write(slots.len(), name).inspect(|range| {
                if range.len > 0 {
                    self.push(MapOp::WriteSlots { base: range.base, backends: slots.clone() });
                }
            });
            self.push(MapOp::OpenPort { id, rule, affinity_timeout, dialled: name.0 });
            if let Some(range) = range.filter(|range| range.len > 0) {
                self.push(MapOp::Publish { id, range, backends: slots });
            }
            return Some(id);
        };
        let id = live.id;
        if live.slots != slots {
            if let Some(range) = self.find(slots.len()) {
                if range.len > 0 {
                    self.push(MapOp::WriteSlots { base: range.base, backends: slots.clone() });
                }
                self.push(MapOp::Publish { id, range, backends: slots });
            } else {
                self.shrink(live, slots, name);
            }
        }
        if live.rule != rule {
            self.push(MapOp::SetRule { id, rule });
        }
        if live.affinity_timeout != affinity_timeout {
            self.push(MapOp::SetAffinityTimeout { id, timeout: affinity_timeout });
        }
        Some(id)
    }

    /// A free range, or a refusal.
    fn write(&mut self, len: usize, port: PortName) -> Option<SlotRange> {
        let range = self.find(len);
        if range.is_none() {
            self.refuse_slots(port, len, 0);
        }
        range
    }

    fn find(&mut self, len: usize) -> Option<SlotRange> {
        if len == 0 {
            return Some(SlotRange::default());
        }
        let range = self.applied.arena.find(u32::try_from(len).ok()?, &self.slots)?;
        self.slots.push(range);
        Some(range)
    }

    /// No other range is free: the port's own takes as many as it can.
    fn shrink(&mut self, live: &AppliedPort, mut slots: Vec<BackendId>, name: PortName) {
        let wanted = slots.len();
        slots.truncate(live.range.len as usize);
        if slots.len() < wanted {
            self.refuse_slots(name, wanted, slots.len());
        }
        if slots == live.slots {
            return;
        }
        let (id, base) = (live.id, live.range.base);
        let range = SlotRange { base, len: slots.len() as u32 };
        self.push(MapOp::RewriteSlots { id, base, backends: slots.clone() });
        self.push(MapOp::Publish { id, range, backends: slots });
    }

    fn refuse_slots(&mut self, port: PortName, wanted: usize, served: usize) {
        let arena = &self.applied.arena;
        self.diff.refusals.push(Refusal::Slots {
            port,
            wanted: wanted as u32,
            served: served as u32,
            largest: arena.largest(),
            free: arena.free(),
            size: self.applied.sizes.slots,
        });
    }

    /// Marks what no port names any more; returns the steps that must wait until ports are closed.
    fn mark_gone(
        &mut self,
        account: &Account,
        ids: &BTreeMap<BackendKey, BackendId>,
        closing: &[&AppliedPort],
    ) -> Vec<MapOp> {
        let in_force: BTreeSet<BackendId> = closing.iter().flat_map(|port| &port.slots).copied().collect();
        let mut late = Vec::new();
        for (&key, backend) in account.backends.iter().filter(|(key, _)| !ids.contains_key(key)) {
            let op = MapOp::MarkGone { id: backend.id, key, account: account.id };
            if in_force.contains(&backend.id) { late.push(op) } else { self.push(op) }
        }
        late
    }

    fn insert(&mut self, account: &Account, desired: &DesiredService, entries: &[Option<ServiceId>]) {
        let mut passing = BTreeSet::new();
        let mut inserts = Vec::new();
        let mut seen = BTreeSet::new();
        for (port, id) in desired.ports.iter().zip(entries) {
            let Some(id) = *id else { continue };
            for &key in &port.frontends {
                match self.applied.frontend(&key) {
                    Some(holder) if holder == id => {}
                    Some(_) => self.diff.held.push(key),
                    None if seen.insert(key) => {
                        passing.insert(key.address);
                        inserts.push(MapOp::InsertFrontend { key, id });
                    }
                    None => {} // listed twice: the first port has it
                }
            }
        }
        // The address comes after its ports: before, a connection to a port that is about to come would be refused.
        for &address in &desired.addresses {
            match self.applied.address(&address) {
                Some(holder) if holder == account.id => {}
                Some(_) => self.diff.held_addresses.push(address),
                None => {
                    passing.insert(address);
                    inserts.push(MapOp::InsertAddress { address, account: account.id });
                }
            }
        }
        for address in passing {
            if !self.applied.filter.passes(&address) {
                self.push(MapOp::SetFilter { address });
            }
        }
        self.diff.ops.extend(inserts);
    }

    fn delete(&mut self, account: &Account, desired: &DesiredService, entries: &[Option<ServiceId>]) {
        let mut wanted: BTreeMap<&FrontendKey, ServiceId> = BTreeMap::new();
        for (port, id) in desired.ports.iter().zip(entries) {
            if let Some(id) = *id {
                for key in &port.frontends {
                    wanted.entry(key).or_insert(id);
                }
            }
        }
        for port in &account.ports {
            for &key in port.frontends.iter().filter(|key| wanted.get(key) != Some(&port.id)) {
                self.push(MapOp::DeleteFrontend { key, id: port.id });
            }
        }
        let addresses: BTreeSet<_> = desired.addresses.iter().collect();
        for &address in account.addresses.iter().filter(|address| !addresses.contains(address)) {
            self.push(MapOp::DeleteAddress { address, account: account.id });
        }
    }

    fn remove_all(&mut self, account: &Account) {
        for port in &account.ports {
            for &key in &port.frontends {
                self.push(MapOp::DeleteFrontend { key, id: port.id });
            }
        }
        for &address in &account.addresses {
            self.push(MapOp::DeleteAddress { address, account: account.id });
        }
        for port in &account.ports {
            self.push(MapOp::ClosePort { id: port.id });
        }
        for (&key, backend) in &account.backends {
            self.push(MapOp::MarkGone { id: backend.id, key, account: account.id });
        }
    }
}
