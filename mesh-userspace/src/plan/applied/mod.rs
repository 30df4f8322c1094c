//! What the maps hold, as the agent knows it: changed only by steps that succeeded.

mod account;
mod apply;
mod arena;
mod filter;
mod ids;
mod quarantine;

pub use account::{Account, AppliedBackend, AppliedPort, Gone, Leaving};
pub use arena::Arena;
pub use filter::FilterBits;
pub use ids::Ids;
pub use quarantine::{Epoch, Freed, Quarantine};

use super::{DesiredPort, DesiredService, Ended, Endings, Sizes};
use crate::model::{Probe, ServiceKey};
use mesh_common::address::{Address, Protocol};
use mesh_common::tables::{BackendId, FrontendKey, ServiceId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the maps hold.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The tables' sizes.
    pub sizes: Sizes,
    pub(crate) names: HashMap<ServiceKey, ServiceId>,
    /// Boxed: a third of a hash table is empty.
    pub(crate) accounts: HashMap<ServiceId, Box<Account>>,
    /// Every entry of `SERVICES` in use, and its account.
    pub(crate) entries: HashMap<ServiceId, ServiceId>,
    pub(crate) frontends: HashMap<FrontendKey, ServiceId>,
    pub(crate) addresses: HashMap<Address, ServiceId>,
    pub(crate) filter: FilterBits,
    /// Backends whose endpoint is gone.
    pub(crate) gone: BTreeMap<BackendId, Gone>,
    /// Entries of ports that were closed.
    pub(crate) leaving: BTreeMap<ServiceId, Leaving>,
    /// Accounts that hold nothing any more, and since when.
    pub(crate) empty: BTreeMap<ServiceId, Epoch>,
    /// Entries of ports whose connections may not last for any time, and whether that has changed.
    pub(crate) lifetimes: (BTreeMap<ServiceId, Endings>, bool),
    /// Accounts whose ejected backends are asked whether they are back, and whether that has changed.
    pub(crate) probes: (BTreeMap<ServiceId, Probe>, bool),
    pub(crate) service_ids: Ids,
    pub(crate) backend_ids: Ids,
    pub(crate) arena: Arena,
    pub(crate) quarantine: Quarantine,
}

impl Applied {
    /// Empty maps.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            names: HashMap::new(),
            accounts: HashMap::new(),
            entries: HashMap::new(),
            frontends: HashMap::new(),
            addresses: HashMap::new(),
            filter: FilterBits::default(),
            gone: BTreeMap::new(),
            leaving: BTreeMap::new(),
            empty: BTreeMap::new(),
            lifetimes: (BTreeMap::new(), false),
            probes: (BTreeMap::new(), false),
            service_ids: Ids::new(sizes.services, &BTreeSet::new()),
            backend_ids: Ids::new(sizes.backends, &BTreeSet::new()),
            arena: Arena::new(sizes.slots),
            quarantine: Quarantine::default(),
        }
    }

    /// The account of a Service by its name.
    pub fn account_of(&self, service: &ServiceKey) -> Option<&Account> {
        self.account(*self.names.get(service)?)
    }

    /// An account by its entry.
    pub fn account(&self, id: ServiceId) -> Option<&Account> {
        self.accounts.get(&id).map(Box::as_ref)
    }

    /// Every account, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values().map(Box::as_ref)
    }

    /// Accounts that an earlier agent left and no Service has claimed, by id.
    pub fn orphans(&self) -> Vec<ServiceId> {
        let unnamed = self.accounts.values().filter(|account| account.service.is_none() && !account.is_empty());
        let mut ids: Vec<_> = unnamed.map(|account| account.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The account that an entry of `SERVICES` belongs to, and the frontend that names its port (`None` for an account
    /// that is no port). For the names in events.
    pub fn entry(&self, id: ServiceId) -> Option<(&Account, Option<FrontendKey>)> {
        let account = self.account(*self.entries.get(&id)?)?;
        let port = account.port(id).and_then(|port| port.dialled);
        Some((account, port.or_else(|| self.leaving.get(&id).and_then(|leaving| leaving.dialled))))
    }

    /// The entry that a frontend leads to.
    pub fn frontend(&self, key: &FrontendKey) -> Option<ServiceId> {
        self.frontends.get(key).copied()
    }

    /// The account that an address belongs to.
    pub fn address(&self, address: &Address) -> Option<ServiceId> {
        self.addresses.get(address).copied()
    }

    /// Backends whose endpoint is gone and that are not free yet, by id.
    pub fn gone(&self) -> impl Iterator<Item = (BackendId, &Gone)> {
        self.gone.iter().map(|(&id, gone)| (id, gone))
    }

    /// Entries of closed ports that are not free yet, by id.
    pub fn leaving(&self) -> impl Iterator<Item = (ServiceId, &Leaving)> {
        self.leaving.iter().map(|(&id, leaving)| (id, leaving))
    }

    /// Accounts that hold nothing any more, with the epoch in which they lost the last.
    pub fn empty(&self) -> impl Iterator<Item = (ServiceId, Epoch)> {
        self.empty.iter().map(|(&id, &since)| (id, since))
    }

    /// Filter bits that are set though no address has them.
    pub fn idle_bits(&self) -> Vec<u32> {
        self.filter.idle()
    }

    /// Entries in use of each table, for status.
    pub fn used(&self) -> Sizes {
        Sizes {
            frontends: self.frontends.len() as u32,
            addresses: self.addresses.len() as u32,
            services: self.service_ids.taken(),
            slots: self.sizes.slots - self.arena.free(),
            backends: self.backend_ids.taken(),
        }
    }

    /// The index after the last in use, of each array.
    pub fn reach(&self) -> Sizes {
        Sizes {
            services: self.service_ids.reach(),
            slots: self.arena.reach(),
            backends: self.backend_ids.reach(),
            ..self.used()
        }
    }

    /// Recognises accounts that an earlier agent left: each goes to the Service that has most of its frontends and
    /// addresses, when that Service has no account yet.
    pub fn claim<'a>(&mut self, services: impl Iterator<Item = (&'a ServiceKey, &'a DesiredService)>) {
        if self.accounts.len() == self.names.len() {
            return; // every account has a name
        }
        let mut votes: BTreeMap<(&ServiceKey, ServiceId), (u32, &DesiredService)> = BTreeMap::new();
        for (service, desired) in services.filter(|(service, _)| !self.names.contains_key(*service)) {
            let frontends = desired.ports.iter().flat_map(|port| &port.frontends);
            let by_frontend = frontends.filter_map(|key| self.entries.get(self.frontends.get(key)?));
            let by_address = desired.addresses.iter().filter_map(|address| self.addresses.get(address));
            for id in by_frontend.chain(by_address) {
                let is_alike = |account: &Account| account.service.is_none() && account.nodes == desired.nodes;
                if self.account(*id).is_some_and(is_alike) {
                    votes.entry((service, *id)).or_insert((0, desired)).0 += 1;
                }
            }
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        // Of equals the first by name and number: the result does not depend on the order of the tables.
        votes.sort_by_key(|&((service, id), (votes, _))| (std::cmp::Reverse(votes), service, id));
        for ((service, id), (_, desired)) in votes {
            let Some(account) = self.accounts.get_mut(&id).filter(|account| account.service.is_none()) else {
                continue;
            };
            if !self.names.contains_key(service) {
                account.service = Some(service.clone());
                account.inherits = account.has_more_than(desired).then(Quarantine::before_all);
                self.names.insert(service.clone(), id);
            }
        }
    }

    /// Ends an inheritance when nothing leads to the Service that should not, in any program either.
    pub fn settle_inheritance(&mut self, service: &ServiceKey, desired: &DesiredService) {
        let Some(account) = self.names.get(service).and_then(|id| self.accounts.get_mut(id)) else { return };
        if account.inherits.is_some_and(|epoch| self.quarantine.has_passed(epoch)) && !account.has_more_than(desired) {
            account.inherits = None;
        }
    }

    /// Remembers what the agent itself keeps to: whether ejected backends are asked, and when connections are ended, of each port
    /// and of each backend once it is gone. Its port decides, and for one that has none any more, as one that has gone
    /// already, the ports of its protocol.
    pub fn remember(&mut self, service: &ServiceKey, desired: &DesiredService) {
        let Some(account) = self.names.get(service).and_then(|id| self.accounts.get_mut(id)) else { return };
        let (probes, changed) = &mut self.probes;
        *changed |= match desired.probe {
            Some(probe) => probes.insert(account.id, probe) != Some(probe),
            None => probes.remove(&account.id).is_some(),
        };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let of_protocol = |port: &&DesiredPort| port.frontends.iter().any(|key| key.protocol() == protocol);
            let Some(port) = desired.ports.iter().find(of_protocol) else { continue };
            let backends = account.backends.iter_mut().filter(|(key, _)| key.protocol == protocol);
            backends.for_each(|(_, backend)| backend.ends = port.endings.gone);
            for (_, id) in account.gone.iter().filter(|(key, _)| key.protocol == protocol) {
                if let Some(gone) = self.gone.get_mut(id) {
                    gone.ends = port.endings.gone;
                }
            }
        }
        for port in &desired.ports {
            for key in port.slots.iter().chain(&port.kept) {
                if let Some(backend) = account.backends.get_mut(key) {
                    backend.ends = port.endings.gone;
                }
            }
            for live in account.ports.iter_mut().filter(|live| live.serves(port)) {
                live.endings = port.endings;
                let (lifetimes, changed) = &mut self.lifetimes;
                *changed |= if port.endings.has_lifetime() {
                    lifetimes.insert(live.id, port.endings) != Some(port.endings)
                } else {
                    lifetimes.remove(&live.id).is_some()
                };
            }
        }
    }

    /// Whose connections may not last for any time, by the entry of the port, if that has changed since the last call.
    pub fn take_lifetimes(&mut self) -> Option<BTreeMap<ServiceId, Endings>> {
        std::mem::take(&mut self.lifetimes.1).then(|| self.lifetimes.0.clone())
    }

    /// Whose ejected backends are asked whether they are back, by account, if that has changed since the last call.
    pub fn take_probes(&mut self) -> Option<BTreeMap<ServiceId, Probe>> {
        std::mem::take(&mut self.probes.1).then(|| self.probes.0.clone())
    }

    /// Notes that a backend came back since it answered the agent.
    pub fn note_returned(&mut self, account: ServiceId) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.returned += 1;
        }
    }

    /// Notes that the agent ended a connection.
    pub fn note_ended(&mut self, account: ServiceId, why: Ended) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.ended[why as usize] += 1;
        }
    }

    /// No connection names the account's own entry as its port any more: another port may be opened there.
    pub fn forget_port(&mut self, id: ServiceId) {
        self.leaving.remove(&id);
    }

    /// What waits for a grace period, and the epochs.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Ends the epoch; the grace period that begins now covers all that happened in it.
    pub fn end_epoch(&mut self) -> Epoch {
        self.quarantine.end_epoch()
    }

    /// A grace period that began after `epoch` has passed: what was freed by then may be reused.
    pub fn release(&mut self, epoch: Epoch) {
        for freed in self.quarantine.release(epoch) {
            match freed {
                Freed::Slots(range) => self.arena.give_back(range),
                Freed::Service(id) => self.service_ids.give_back(id.0),
                Freed::Backend(id) => self.backend_ids.give_back(id.0),
            }
        }
    }
}
