//! An agent, its maps, and the programs that read them, step by step.

use super::faulty::Faulty;
use super::world::{Cluster, Numbers, SERVICES, expected, meaning, name};
use crate::maps::{Maps, MemoryMaps};
use crate::plan::Sizes;
use crate::reconcile::{GraceTicket, Reconciler};
use mesh_common::tables::FrontendKey;
use proptest::prelude::ProptestConfig;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many worlds a property is tried in: PROPTEST_CASES, or what takes a few seconds.
pub fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: usual, ..config } }
}

pub struct Harness {
    pub agent: Reconciler<Faulty>,
    pub cluster: Cluster,
    /// Whose each frontend was when it was last inserted.
    owners: BTreeMap<FrontendKey, u8>,
    /// Who takes what over from an agent that was killed.
    heirs: BTreeMap<FrontendKey, u8>,
    /// A grace period under way, and how many programs ran when it began.
    grace: Option<(GraceTicket, usize)>,
    pub numbers: Numbers,
    now: Instant,
}

impl Harness {
    pub fn new(sizes: Sizes, seed: u64) -> Self {
        Self {
            agent: Reconciler::new(Faulty::new(MemoryMaps::new(sizes), seed)),
            cluster: Cluster::new(),
            owners: BTreeMap::new(),
            heirs: BTreeMap::new(),
            grace: None,
            numbers: Numbers(!seed),
            now: Instant::now(),
        }
    }

    /// Tells the agent what changed.
    pub fn change(&mut self, cluster: Cluster) {
        for service in 0..SERVICES {
            let desired = cluster.get(&service);
            if desired != self.cluster.get(&service) {
                self.agent.set(name(service), desired.cloned());
            }
        }
        self.cluster = cluster;
    }

    /// Programs start, the agent syncs, perhaps a grace period begins or ends.
    pub fn turn(&mut self) {
        self.start_readers();
        self.now += Duration::from_millis(self.numbers.below(100));
        self.agent.sync(self.now);
        if !self.agent.applied().accounts().any(|account| account.inherits.is_some()) {
            self.heirs.clear();
        }
        self.note_owners();
        self.start_readers();
        match self.grace.take() {
            Some((ticket, running)) if self.numbers.one_in(2) => self.end_grace(ticket, running),
            Some(grace) => self.grace = Some(grace),
            None => {
                let ticket = self.agent.begin_grace();
                self.grace = ticket.map(|ticket| (ticket, self.agent.maps().readers.running()));
            }
        }
        let mut numbers = self.numbers.clone();
        let Faulty { maps, readers, .. } = self.agent.maps_mut();
        readers.close(maps, || numbers.one_in(3));
        self.numbers = numbers;
        self.agent.retire();
    }

    fn end_grace(&mut self, ticket: GraceTicket, running: usize) {
        // Programs that ran when it began have ended by now; with their last breath some took a slot.
        let connecting = 1 + self.numbers.below(9) as usize;
        let Faulty { maps, readers, .. } = self.agent.maps_mut();
        readers.end(maps, running, connecting);
        self.agent.end_grace(ticket, &Ok(()));
    }

    /// Which Service's a frontend in the table is can be told by who was told to have it; where Services take over
    /// from each other the element says.
    fn note_owners(&mut self) {
        for (key, id) in self.agent.maps().maps.frontends().unwrap() {
            let entry = self.agent.applied().entry(id).filter(|(account, _)| account.inherits.is_none());
            let owner = entry.and_then(|(account, _)| account.service.clone());
            if let Some(owner) = (0..SERVICES).find(|service| Some(name(*service)) == owner) {
                self.owners.insert(key, owner);
            }
        }
    }

    fn start_readers(&mut self) {
        let (owners, heirs) = (&self.owners, &self.heirs);
        let Faulty { maps, readers, .. } = self.agent.maps_mut();
        // Few are enough, and each is looked at after every step.
        if readers.running() < 120 {
            readers.start(maps, |key| {
                let owner = *owners.get(key)?;
                Some((owner, heirs.get(key).copied().unwrap_or(owner)))
            });
        }
    }

    /// Kills the agent and starts another over what it left.
    pub fn restart(self) -> Self {
        let Self { mut agent, cluster, owners, numbers, now, .. } = self;
        let mut faulty = std::mem::replace(
            agent.maps_mut(),
            Faulty::new(MemoryMaps::new(Sizes { frontends: 1, addresses: 1, services: 2, slots: 1, backends: 2 }), 0),
        );
        drop(agent);
        faulty.killed_after = None;
        // The new agent waits for a grace period: all programs have ended.
        let running = faulty.readers.running();
        faulty.readers.end(&mut faulty.maps, running, 7);
        let agent = Reconciler::adopt(faulty, || Ok(())).unwrap();
        let ports = cluster.iter().flat_map(|(id, service)| service.ports.iter().map(move |port| (id, port)));
        let heirs = ports.flat_map(|(id, port)| port.frontends.iter().map(move |key| (*key, *id))).collect();
        let mut new = Self { agent, cluster: Cluster::new(), owners, heirs, grace: None, numbers, now };
        new.start_readers();
        new.change(cluster);
        new.agent.first_list_done();
        new
    }

    /// Without faults, everything comes in line: the maps mean what the cluster says, and nothing is held that no one
    /// needs.
    pub fn settle(&mut self) {
        self.agent.maps_mut().fails_one_in = 0;
        let mut turns = 0;
        while self.grace.is_some()
            || self.agent.applied().quarantine().wants_grace()
            || self.agent.pending().next().is_some()
            || !self.agent.maps().readers.open.is_empty()
        {
            self.now += Duration::from_secs(10);
            self.turn();
            turns += 1;
            assert!(turns < 200, "it does not settle: {:?}", self.agent.pending().collect::<Vec<_>>());
        }
        let maps = &self.agent.maps().maps;
        assert_eq!(meaning(maps), expected(&self.cluster));
        self.nothing_leaks();
    }

    fn nothing_leaks(&self) {
        let applied = self.agent.applied();
        let used = applied.used();
        let services: usize = self.cluster.values().map(|service| service.ports.len().max(1)).sum();
        // A port that took another entry than its account's leaves the account an entry of its own.
        let extra =
            applied.accounts().filter(|account| !account.ports.is_empty() && account.port(account.id).is_none());
        assert_eq!(used.services as usize, services + extra.count(), "entries of SERVICES");
        let slots: usize = self.cluster.values().flat_map(|service| &service.ports).map(|port| port.slots.len()).sum();
        assert_eq!(used.slots as usize, slots, "positions of SLOTS");
        let arrays = self.agent.maps().maps.arrays();
        let backends = arrays.backends.iter().filter(|backend| backend.tag.load() != 0).count();
        assert_eq!(used.backends as usize, backends, "entries of BACKENDS");
        assert_eq!(backends, expected(&self.cluster).serving.len(), "backends in use");
        assert!(arrays.services.iter().all(|entry| entry.active.load() == 0));
        assert!(arrays.backends.iter().all(|entry| entry.active.load() == 0));
        // Another agent finds nothing to mend, and the same in use.
        let adopted = crate::reconcile::adopt::adopt(&self.agent.maps().maps).unwrap();
        assert_eq!(adopted.repairs, []);
        assert_eq!(adopted.applied.used(), used);
    }
}
