//! What maps mean: the same for two agents that serve the same cluster state, whatever ids and positions each gave out.
//!
//! ```no_run
//! # use mesh_tests::{meaning::Meaning, world::World};
//! # fn main() -> anyhow::Result<()> {
//! # let world = World::new()?;
//! let old = Meaning::of_pins(world.agent().pins())?;
//! let fresh = world.fresh_agent()?;
//! fresh.start()?;
//! old.equals(&Meaning::of_pins(fresh.pins())?)?;
//! # Ok(())
//! # }
//! ```

use anyhow::{Context, Result, bail};
use mesh_common::atomic::Atomic64;
use mesh_common::select::Algorithm;
use mesh_common::tables::{BackendId, BackendTag, FILTER_WORDS, FrontendKey, Rule, ServiceId, SlotRange, UNLIMITED};
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::arrays::SlotCell;
use mesh_userspace::maps::{Arrays, KernelMaps, Maps};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// Differences that an error shows; the rest are counted.
const SHOWN: usize = 12;

/// Every element and every entry in use, as sentences without ids and positions, sorted.
///
/// A Service goes by its least frontend, a port likewise. What fresh maps do not have is said, too: backends that are
/// gone but not free, entries that no frontend leads to, connections that are counted as open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning(Vec<String>);

impl Meaning {
    /// Of the maps that an agent of this build pinned below `root`. It may be running: what it is in the midst of
    /// changing shows as half changed.
    pub fn of_pins(root: &Path) -> Result<Self> {
        let maps = KernelMaps::new(descriptors(&Pins::new(root))?).context("open the pinned maps")?;
        Self::of(&maps)
    }

    /// Of any maps.
    pub fn of(maps: &impl Maps) -> Result<Self> {
        let mut frontends = maps.frontends().context("read FRONTENDS")?;
        frontends.sort();
        let arrays = maps.arrays();
        let mut reader = Reader { arrays, names: BTreeMap::new(), owners: BTreeMap::new(), said: Vec::new() };
        reader.name(&frontends);
        for (key, id) in &frontends {
            reader.say(format!("{key} leads to {}", reader.port_name(*id)));
        }
        for (address, id) in maps.addresses().context("read ADDRESSES")? {
            reader.say(format!("{address} is an address of {}", reader.owner_name(id)));
        }
        reader.services();
        reader.backends();
        reader.filter();
        for (cookie, connection) in maps.connections().context("read CONNECTIONS")? {
            reader.say(format!("socket {cookie} holds {connection:?}"));
        }
        let mut said = reader.said;
        said.sort_unstable();
        Ok(Self(said))
    }

    /// How many statements it consists of.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the maps are as a new agent makes them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails with what only one of both says.
    pub fn equals(&self, fresh: &Self) -> Result<()> {
        if self == fresh {
            return Ok(());
        }
        let (own, other): (BTreeSet<_>, BTreeSet<_>) = (self.0.iter().collect(), fresh.0.iter().collect());
        let more = own.difference(&other).map(|line| format!("more than fresh maps: {line}"));
        let less = other.difference(&own).map(|line| format!("less than fresh maps: {line}"));
        let all: Vec<String> = more.chain(less).collect();
        let rest = all.len().saturating_sub(SHOWN);
        let shown = all[..all.len().min(SHOWN)].join("\n  ");
        bail!("of {} and {} statements, {} differ:\n  {shown}\n  and {rest} more", self.len(), fresh.len(), all.len())
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The tables on their way to sentences.
struct Reader<'a> {
    arrays: Arrays<'a>,
    /// The least frontend that leads to each entry of `SERVICES`.
    names: BTreeMap<ServiceId, FrontendKey>,
    /// The least frontend of each account.
    owners: BTreeMap<ServiceId, FrontendKey>,
    said: Vec<String>,
}

impl Reader<'_> {
    fn say(&mut self, line: String) {
        self.said.push(line);
    }

    /// `frontends` are sorted: the first that leads somewhere names it.
    fn name(&mut self, frontends: &[(FrontendKey, ServiceId)]) {
        for (key, id) in frontends {
            self.names.entry(*id).or_insert(*key);
            if let Some(account) = self.rule(*id).map(|rule| rule.account) {
                self.owners.entry(account).or_insert(*key);
            }
        }
    }

    fn rule(&self, id: ServiceId) -> Option<Rule> {
        self.arrays.service(id).map(|entry| Rule::unpack(entry.rule.load())).filter(|rule| rule.account.0 != 0)
    }

    fn port_name(&self, id: ServiceId) -> String {
        let owner = self.rule(id).map_or_else(|| "nobody".to_owned(), |rule| self.owner_name(rule.account));
        self.names
            .get(&id)
            .map_or_else(|| format!("a port without a frontend of {owner}"), |key| format!("port {key} of {owner}"))
    }

    fn owner_name(&self, account: ServiceId) -> String {
        self.owners
            .get(&account)
            .map_or_else(|| "a Service without frontends".to_owned(), |key| format!("Service {key}"))
    }

    /// Every entry of `SERVICES` in use.
    fn services(&mut self) {
        let mut taken = BTreeSet::new();
        for (index, entry) in self.arrays.services.iter().enumerate().skip(1) {
            let (id, word) = (ServiceId(index as u32), entry.rule.load());
            let Some(rule) = self.rule(id) else { continue };
            let name = self.port_name(id);
            if rule.account == id {
                let limits = [&entry.max_connections, &entry.max_connections_per_backend].map(Atomic64::load);
                let [most, each] =
                    limits.map(|limit| if limit == UNLIMITED { "no".to_owned() } else { limit.to_string() });
                let owner = self.owner_name(id);
                self.say(format!("{owner} has limits: {most} for all, {each} for each backend"));
                self.open(&owner, entry.active.load());
                if let Some(traffic) = self.arrays.traffic(id).filter(|_| rule.traffic) {
                    self.say(format!("{owner} asks for {:?}", traffic.load()));
                }
                if let Some(outlier) = self.arrays.outlier(id).filter(|_| rule.outlier) {
                    self.say(format!("{owner} ejects by {:?}", outlier.load()));
                }
            }
            let range = SlotRange::unpack(entry.slots.load());
            let named = self.names.contains_key(&id);
            if rule.account == id && !named && range.len == 0 && self.owners.contains_key(&id) {
                // It counts, and is no port any more: its port was closed and opened anew while connections named it.
                continue;
            }
            let slots = self.slots(range);
            // The low half of the word: the algorithm, and flags if there are any.
            let (algorithm, bits) = (Algorithm::name(rule.algorithm), word as u32);
            self.say(format!(
                "{name} picks {algorithm} ({bits:#x}) of [{slots}], affinity {} ns",
                entry.affinity_timeout.load()
            ));
            if (range.base..range.base.saturating_add(range.len)).any(|position| !taken.insert(position)) {
                self.say(format!("{name} shares slots with another port"));
            }
        }
    }

    fn slots(&self, range: SlotRange) -> String {
        let positions = range.base as usize..range.base as usize + range.len as usize;
        let Some(cells) = self.arrays.slots.get(positions) else { return format!("{range:?}, beyond the table") };
        cells.iter().map(SlotCell::load).map(|id| self.backend(id)).collect::<Vec<_>>().join(", ")
    }

    fn backend(&self, id: BackendId) -> String {
        let Some(entry) = self.arrays.backend(id) else { return "no backend".to_owned() };
        let Some(tag) = BackendTag::unpack(entry.tag.load()) else { return "a free backend".to_owned() };
        let key = FrontendKey::new(entry.address(), tag.port, tag.protocol);
        let weight = entry.weight.load().max(1);
        format!("{key} {:?}, weight {weight}, of {}", tag.state, self.owner_name(tag.account))
    }

    /// Every entry of `BACKENDS` in use, in a slot or not.
    fn backends(&mut self) {
        for (index, entry) in self.arrays.backends.iter().enumerate().skip(1) {
            if entry.tag.load() != 0 {
                let backend = self.backend(BackendId(index as u32));
                self.open(&backend, entry.active.load());
                self.say(format!("backend {backend}"));
            }
        }
    }

    fn open(&mut self, of: &str, active: u64) {
        if active != 0 {
            self.say(format!("{of} counts {active} open connections"));
        }
    }

    fn filter(&mut self) {
        for index in 0..FILTER_WORDS {
            let word = self.arrays.filter_word(index).map_or(0, Atomic64::load);
            if word != 0 {
                self.say(format!("filter word {index} is {word:#018x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_common::address::{Address, Port, Protocol};
    use mesh_common::select::HashBy;

    use mesh_userspace::maps::MemoryMaps;
    use mesh_userspace::model::ServiceKey;
    use mesh_userspace::plan::{BackendKey, DesiredPort, DesiredService, Endings, MapOp, Sizes};
    use mesh_userspace::reconcile::Reconciler;
    use std::net::Ipv4Addr;
    use std::time::Instant;

    const SIZES: Sizes = Sizes { frontends: 64, addresses: 64, services: 64, slots: 256, backends: 64 };

    fn service(number: u8, backends: &[u8]) -> (ServiceKey, DesiredService) {
        let address = Address::from(Ipv4Addr::new(10, 96, 0, number));
        let key = |last: &u8| BackendKey {
            address: Address::from(Ipv4Addr::new(10, 244, 0, *last)),
            port: Port::from_host(8080),
            protocol: Protocol::Tcp,
        };
        let port = DesiredPort {
            frontends: vec![FrontendKey::new(address, Port::from_host(80), Protocol::Tcp)],
            fenced: false,
            algorithm: Algorithm::Random,
            hash: HashBy::default(),
            outlier: false,
            affinity_timeout: 0,
            slots: backends.iter().map(key).collect(),
            kept: Vec::new(),
            endings: Endings::default(),
        };
        let desired = DesiredService {
            addresses: vec![address],
            ports: vec![port],
            max_connections: 7,
            ..DesiredService::default()
        };
        (ServiceKey::new("test", format!("web-{number}")), desired)
    }

    fn settle(agent: &mut Reconciler<MemoryMaps>, services: &[(ServiceKey, DesiredService)]) {
        for (key, desired) in services {
            agent.set(key.clone(), Some(desired.clone()));
        }
        agent.first_list_done();
        agent.sync(Instant::now());
        while let Some(ticket) = agent.begin_grace() {
            agent.end_grace(ticket, &Ok(()));
            agent.sync(Instant::now());
            agent.retire();
        }
        assert_eq!(agent.pending().count(), 0);
    }

    fn maps(history: &[&[(ServiceKey, DesiredService)]]) -> Reconciler<MemoryMaps> {
        let mut agent = Reconciler::new(MemoryMaps::new(SIZES));
        for services in history {
            settle(&mut agent, services);
        }
        agent
    }

    #[test]
    fn another_history_with_the_same_end_means_the_same() {
        let end = [service(1, &[3, 4]), service(2, &[5])];
        let fresh = maps(&[&end]);
        let old = maps(&[&[service(2, &[9, 5])], &[service(2, &[]), service(1, &[4])], &end]);
        let first = FrontendKey::new(Address::from(Ipv4Addr::new(10, 96, 0, 1)), Port::from_host(80), Protocol::Tcp);
        assert_ne!(old.maps().frontend(&first).unwrap(), fresh.maps().frontend(&first).unwrap(), "the ids differ");
        let [old, fresh] = [&old, &fresh].map(|agent| Meaning::of(agent.maps()).unwrap());
        old.equals(&fresh).unwrap();
        // 2 frontends, 2 addresses, 2 limits, 2 ports, 3 backends, 2 filter words.
        assert_eq!(old.len(), 13, "{old}");
    }

    #[test]
    fn whatever_is_changed_behind_the_agents_back_shows() {
        let services = [service(1, &[3, 4]), service(2, &[5])];
        let fresh = Meaning::of(maps(&[&services]).maps()).unwrap();
        let shows = |what: &str, change: &dyn Fn(&mut MemoryMaps)| {
            let mut agent = maps(&[&services]);
            change(agent.maps_mut());
            let error = Meaning::of(agent.maps()).unwrap().equals(&fresh).expect_err(what).to_string();
            assert!(error.contains(what), "{what} is not in: {error}");
        };
        let first = ServiceId(1);
        let frontend = FrontendKey::new(Address::from(Ipv4Addr::new(10, 96, 0, 1)), Port::from_host(80), Protocol::Tcp);
        shows("less than fresh maps: 10.96.0.1:80/TCP leads to", &|maps| maps.delete_frontend(&frontend).unwrap());
        shows("less than fresh maps: 10.96.0.1 is an address", &|maps| maps.delete_address(&frontend.address).unwrap());
        shows("of []", &|maps| maps.arrays().services[1].slots.store(0));
        shows("has limits: 8 for all", &|maps| maps.arrays().services[1].max_connections.store(8));
        shows("counts 1 open connections", &|maps| maps.arrays().backends[2].active.store(1));
        shows("Gone, weight 1, of Service", &|maps| {
            let entry = &maps.arrays().backends[1];
            let tag = BackendTag::unpack(entry.tag.load()).unwrap();
            entry.tag.store(BackendTag { state: mesh_common::tables::BackendState::Gone, ..tag }.pack());
        });
        shows("filter word", &|maps| maps.write(&MapOp::SetFilter { address: Address([9; 16]) }).unwrap());
        shows("shares slots", &|maps| {
            let services = maps.arrays().services;
            services[2].slots.store(services[first.0 as usize].slots.load());
        });
        shows("a port without a frontend", &|maps| {
            let rule = Rule {
                account: first,
                algorithm: Algorithm::Random,
                hash: HashBy::default(),
                traffic: false,
                fenced: false,
                nodes: false,
                outlier: false,
            };
            maps.arrays().services[9].rule.store(rule.pack());
        });
    }
}
