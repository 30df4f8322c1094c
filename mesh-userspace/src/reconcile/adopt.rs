//! Taking over what an earlier agent left, also when it was killed between two steps.
//!
//! The tables are read once. What clients can reach is trusted as far as it is whole; what they cannot reach and what
//! counts nothing is freed. Services have no names in the tables: they are recognised later, by their frontends.

use super::Reconciler;
use crate::maps::arrays::SlotCell;
use crate::maps::{Arrays, MapError, Maps};
use crate::model::Drain;
use crate::plan::applied::{Account, Applied, AppliedBackend, AppliedPort, Gone, Ids, Leaving, Quarantine};
use crate::plan::{BackendKey, Endings, MapOp};
use mesh_common::address::Address;
use mesh_common::tables::{
    BackendId, BackendState, BackendTag, Connection, FilterBit, FrontendKey, Outlier, Rule, ServiceId, SlotRange,
    Traffic,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

/// What was found.
#[derive(Debug)]
pub struct Adopted {
    /// What is trusted.
    pub applied: Applied,
    /// What is to be done at once: to free what an unfinished change left, and to mend what is not whole.
    pub repairs: Vec<MapOp>,
}

/// The maps could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// They could not be read.
    #[error("read the maps that an earlier agent left")]
    Read(#[source] MapError),
    /// They could not be mended.
    #[error("mend the maps that an earlier agent left: {0}")]
    Repair(Box<MapOp>, #[source] MapError),
    /// No grace period could be waited for.
    #[error("wait until programs have seen the earlier agent's last change")]
    Grace(#[source] io::Error),
}

impl<M: Maps> Reconciler<M> {
    /// Takes over maps that an earlier agent may have filled. That agent must have ended. `grace` waits for a grace
    /// period: what the earlier agent did last, running programs may not have seen.
    pub fn adopt(maps: M, grace: impl FnOnce() -> io::Result<()>) -> Result<Self, AdoptError> {
        let Adopted { applied, repairs } = adopt(&maps).map_err(AdoptError::Read)?;
        if applied.accounts().next().is_some() || !repairs.is_empty() {
            grace().map_err(AdoptError::Grace)?;
        }
        let mut reconciler = Self::with(maps, applied);
        for op in repairs {
            let mended = match &op {
                MapOp::DeleteFrontend { key, .. } => reconciler.maps.delete_frontend(key),
                MapOp::DeleteAddress { address, .. } => reconciler.maps.delete_address(address),
                _ => reconciler.maps.write(&op),
            };
            mended.map_err(|error| AdoptError::Repair(Box::new(op.clone()), error))?;
            if let MapOp::DeleteFrontend { .. } | MapOp::DeleteAddress { .. } = op {
                reconciler.close_gate();
            }
        }
        let reach = reconciler.applied.reach();
        reconciler.maps.forget_beyond(&reach).map_err(AdoptError::Read)?;
        Ok(reconciler)
    }
}

/// Reads the maps.
pub fn adopt(maps: &impl Maps) -> Result<Adopted, MapError> {
    let arrays = maps.arrays();
    let mut reader = Reader {
        applied: Applied::new(maps.sizes()),
        repairs: Vec::new(),
        named: maps.connections()?.into_iter().map(|(_, connection)| connection).collect(),
        arrays,
    };
    let rules = reader.accounts();
    reader.backends();
    reader.addresses(maps.addresses()?);
    reader.reached(&rules, maps.frontends()?);
    reader.unreached(&rules);
    reader.filter();
    Ok(reader.finish())
}

/// The tables on their way to what is trusted.
struct Reader<'a> {
    applied: Applied,
    repairs: Vec<MapOp>,
    named: Vec<Connection>,
    arrays: Arrays<'a>,
}

impl Reader<'_> {
    fn account(&mut self, id: ServiceId) -> Option<&mut Account> {
        self.applied.accounts.get_mut(&id).map(Box::as_mut)
    }

    /// Every entry that is its own account; returns those that name another: ports.
    fn accounts(&mut self) -> BTreeMap<ServiceId, Rule> {
        let mut ports = BTreeMap::new();
        for (index, entry) in self.arrays.services.iter().enumerate().skip(1) {
            let (id, word) = (ServiceId(index as u32), entry.rule.load());
            let rule = Rule::unpack(word);
            if rule.account == ServiceId(0) {
                continue;
            }
            if rule.pack() != word {
                // An algorithm that this build does not know.
                self.repairs.push(MapOp::SetRule { id, rule });
            }
            ports.insert(id, rule);
            if rule.account == id {
                let mut account = Account::new(id, None);
                account.nodes = rule.nodes;
                account.max_connections = entry.max_connections.load();
                account.max_connections_per_backend = entry.max_connections_per_backend.load();
                self.applied.accounts.insert(id, Box::new(account));
                self.applied.entries.insert(id, id);
            }
        }
        ports
    }

    fn backends(&mut self) {
        for (index, entry) in self.arrays.backends.iter().enumerate().skip(1) {
            let (id, word) = (BackendId(index as u32), entry.tag.load());
            if word == 0 {
                continue;
            }
            let tag = BackendTag::unpack(word).filter(|tag| self.applied.accounts.contains_key(&tag.account));
            let Some(BackendTag { port, protocol, state, account }) = tag else {
                self.repairs.push(MapOp::RetireBackend { id });
                continue;
            };
            let key = BackendKey { address: entry.address(), port, protocol };
            let ends = Drain::default().ends_after(protocol); // until its Service says so
            let known = self.account(account).is_some_and(|account| account.backends.contains_key(&key));
            if state == BackendState::Serving && !known {
                let weight = u32::try_from(entry.weight.load()).unwrap_or(u32::MAX);
                let Some(account) = self.account(account) else { continue };
                account.backends.insert(key, AppliedBackend { id, weight, ends });
                account.gone.remove(&key);
                continue;
            }
            if state == BackendState::Serving {
                self.repairs.push(MapOp::MarkGone { id, key, account });
            }
            self.applied.gone.insert(id, Gone { account, key, since: Quarantine::before_all(), ends });
            if let Some(account) = self.account(account).filter(|_| !known) {
                account.gone.insert(key, id);
            }
        }
    }

    fn addresses(&mut self, addresses: Vec<(Address, ServiceId)>) {
        for (address, id) in addresses {
            let Some(account) = self.account(id) else {
                self.repairs.push(MapOp::DeleteAddress { address, account: id });
                continue;
            };
            account.addresses.push(address);
            self.applied.addresses.insert(address, id);
            self.pass(address);
        }
    }

    /// Ports that clients reach.
    fn reached(&mut self, rules: &BTreeMap<ServiceId, Rule>, frontends: Vec<(FrontendKey, ServiceId)>) {
        let mut ports: BTreeMap<ServiceId, Vec<FrontendKey>> = BTreeMap::new();
        for (key, id) in frontends {
            let account = rules.get(&id).map(|rule| rule.account);
            if account.is_none_or(|account| !self.applied.accounts.contains_key(&account)) {
                self.repairs.push(MapOp::DeleteFrontend { key, id });
                continue;
            }
            ports.entry(id).or_default().push(key);
            self.applied.frontends.insert(key, id);
            self.pass(key.address);
        }
        for (id, mut frontends) in ports {
            frontends.sort_unstable();
            let rule = rules[&id];
            let (range, slots) = self.slots(id, rule.account).unwrap_or_else(|| {
                // Not whole: refuse until its Service says what it should be.
                self.repairs.push(MapOp::Publish { id, range: SlotRange::default(), backends: Vec::new() });
                Default::default()
            });
            let dialled = frontends.first().copied();
            let affinity_timeout = self.arrays.service(id).map_or(0, |entry| entry.affinity_timeout.load());
            self.applied.entries.insert(id, rule.account);
            let traffic = self.arrays.traffic(rule.account).filter(|_| rule.traffic).map(Traffic::load);
            let outlier = self.arrays.outlier(rule.account).filter(|_| rule.outlier).map(Outlier::load);
            if let Some(account) = self.account(rule.account) {
                account.outlier = outlier.unwrap_or(account.outlier);
                account.traffic = traffic.unwrap_or(account.traffic);
                let endings = Endings::default();
                account.ports.push(AppliedPort {
                    id,
                    dialled,
                    frontends,
                    rule,
                    affinity_timeout,
                    range,
                    slots,
                    endings,
                });
            }
        }
    }

    /// Where a port's slots lie and what they say; `None` when that is not whole.
    fn slots(&mut self, id: ServiceId, account: ServiceId) -> Option<(SlotRange, Vec<BackendId>)> {
        let range = SlotRange::unpack(self.arrays.service(id)?.slots.load());
        let end = range.base.checked_add(range.len)?;
        let cells = self.arrays.slots.get(range.base as usize..end as usize)?;
        let slots: Vec<BackendId> = cells.iter().map(SlotCell::load).collect();
        let of_account = |id: &BackendId| {
            let word = self.arrays.backend(*id).map_or(0, |entry| entry.tag.load());
            BackendTag::unpack(word).is_some_and(|tag| tag.account == account)
        };
        (slots.iter().all(of_account) && self.applied.arena.take(range)).then_some((range, slots))
    }

    /// Entries that no client reaches: accounts without a port of their own, ports half opened or half closed.
    fn unreached(&mut self, rules: &BTreeMap<ServiceId, Rule>) {
        let connections = self.named.iter();
        let dialled: HashMap<ServiceId, FrontendKey> =
            connections.map(|connection| (connection.service, connection.frontend)).collect();
        for (&id, rule) in rules {
            let Some(account) = self.applied.accounts.get(&rule.account) else {
                self.repairs.push(MapOp::RetireService { id });
                continue;
            };
            if account.port(id).is_some() {
                continue;
            }
            let last = dialled.get(&id);
            if id != rule.account && last.is_none() {
                self.repairs.push(MapOp::RetireService { id });
                continue;
            }
            if self.arrays.service(id).is_some_and(|entry| entry.slots.load() != 0) {
                self.repairs.push(MapOp::ClosePort { id });
            }
            if let Some(&last) = last {
                let since = Quarantine::before_all();
                self.applied.entries.insert(id, rule.account);
                self.applied.leaving.insert(id, Leaving { account: rule.account, dialled: Some(last), since });
            }
        }
    }

    /// An element needs its filter bit.
    fn pass(&mut self, address: Address) {
        if !self.applied.filter.passes(&address) {
            self.applied.filter.set(&address);
        }
        self.applied.filter.need(&address);
        let bit = FilterBit::of(&address);
        if self.arrays.filter_word(bit.word).is_some_and(|word| word.load() & bit.mask == 0) {
            self.repairs.push(MapOp::SetFilter { address });
        }
    }

    /// Filter bits that nothing needs.
    fn filter(&mut self) {
        let needed: BTreeSet<u32> = self.applied.filter.needed().collect();
        let words = self.arrays.filter.iter().map(mesh_common::atomic::Atomic64::load).enumerate();
        for (index, set) in words.filter(|(_, set)| *set != 0) {
            let bits = (0..64).filter(|bit| set & 1 << bit != 0).map(|bit| index as u32 * 64 + bit);
            self.repairs.extend(bits.filter(|bit| !needed.contains(bit)).map(|bit| MapOp::ClearFilter { bit }));
        }
    }

    /// What is not taken is free.
    fn finish(mut self) -> Adopted {
        let sizes = self.applied.sizes;
        // An index that a connection names is not given out, whatever the tables say of it.
        let named = self.named.iter().flat_map(|connection| [connection.account.0, connection.service.0]);
        let services = self.applied.entries.keys().map(|id| id.0).chain(named).filter(|&id| id < sizes.services);
        self.applied.service_ids = Ids::new(sizes.services, &services.collect());
        let serving = self.applied.accounts.values().flat_map(|account| account.backends.values());
        let backends = serving.map(|backend| backend.id.0).chain(self.applied.gone.keys().map(|id| id.0));
        let named = self.named.iter().map(|connection| connection.backend.0);
        let backends = backends.chain(named).filter(|&id| id < sizes.backends);
        self.applied.backend_ids = Ids::new(sizes.backends, &backends.collect());
        let accounts: Vec<ServiceId> = self.applied.accounts.keys().copied().collect();
        for id in accounts {
            self.applied.weigh(id);
        }
        Adopted { applied: self.applied, repairs: self.repairs }
    }
}
