//! The limits as the programs know them: an entry for each backend, with its counts.
//!
//! A backend that has lost its limit is hidden from the programs first; its connections' records go after a grace period, and only
//! then may it, or its entry, be used again. Else a connection of before would give back a slot that it does not hold.

use crate::maps::grace::Grace;
use crate::maps::inbound::InboundMaps;
use crate::plan::BackendKey;
use crate::plan::inbound::InboundLimits;
use anyhow::Context;
use mesh_common::address::Protocol;
use mesh_common::tables::{InboundId, InboundKey, NO_NETNS};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A count that is not the number of its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suspect {
    /// By how much.
    pub off: i64,
    /// What the entry said.
    active: u64,
    /// How many connections the programs had let in or reset by then: whoever makes a record counts there.
    decided: u64,
}

/// The entries.
#[derive(Debug)]
pub struct Backends {
    maps: InboundMaps,
    grace: Arc<Grace>,
    ids: BTreeMap<BackendKey, InboundId>,
    /// Hidden from the programs, with entries that may not be used again yet.
    leaving: BTreeMap<BackendKey, InboundId>,
    /// Whether records may be there of backends that the programs do not find.
    strays: bool,
}

impl Backends {
    /// As an earlier agent left them.
    pub fn adopt(maps: InboundMaps, grace: Arc<Grace>) -> anyhow::Result<Self> {
        let ids = maps.backends()?;
        Ok(Self { maps, grace, ids, leaving: BTreeMap::new(), strays: true })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.leaving.is_empty()
    }

    /// Every backend with a limit in the maps.
    pub fn keys(&self) -> impl Iterator<Item = &BackendKey> {
        self.ids.keys()
    }

    /// Puts these limits in force, and no others; how many there was no room for.
    pub fn set(&mut self, wanted: &InboundLimits) -> anyhow::Result<usize> {
        for (key, limit) in wanted {
            if let Some(&id) = self.ids.get(key) {
                let entry = self.maps.entry(id)?;
                entry.limit.store(limit.limit);
                entry.observed_limit.store(limit.observed);
            }
        }
        let gone: Vec<BackendKey> = self.ids.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.maps.delete(&key)?;
            if let Some(id) = self.ids.remove(&key) {
                self.leaving.insert(key, id);
            }
        }
        self.settle()?;
        let mut left_out = 0;
        let used: HashSet<u32> = self.ids.values().map(|id| id.0).collect();
        let mut free = (1..self.maps.size() as u32).filter(|id| !used.contains(id)).map(InboundId);
        for (key, limit) in wanted {
            if self.ids.contains_key(key) {
                continue;
            }
            let Some(id) = free.next() else {
                left_out += 1;
                continue;
            };
            let entry = self.maps.entry(id)?;
            for counter in [&entry.active, &entry.opened, &entry.refused, &entry.reset, &entry.observed] {
                counter.store(0);
            }
            entry.netns.store(NO_NETNS);
            entry.limit.store(limit.limit);
            entry.observed_limit.store(limit.observed);
            if self.maps.insert(key, id)? {
                self.ids.insert(*key, id);
            } else {
                left_out += 1;
            }
        }
        let used = self.ids.values().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        self.maps.forget_beyond(used)?;
        Ok(left_out)
    }

    /// Waits until no program holds what was hidden, and forgets the connections to it.
    fn settle(&mut self) -> anyhow::Result<()> {
        if self.leaving.is_empty() && !self.strays {
            return Ok(());
        }
        self.grace.wait().context("wait for a grace period")?;
        for record in self.maps.connections()? {
            if !self.ids.contains_key(&backend_of(&record)) {
                self.maps.forget(&record)?;
            }
        }
        self.leaving.clear();
        self.strays = false;
        Ok(())
    }

    /// Where a backend's sockets are; `None` while its pod is not there.
    pub fn locate(&mut self, key: &BackendKey, netns: Option<u32>) -> anyhow::Result<()> {
        if let Some(&id) = self.ids.get(key) {
            self.maps.entry(id)?.netns.store(netns.map_or(NO_NETNS, u64::from));
        }
        Ok(())
    }

    /// Every record of a connection.
    pub fn connections(&self) -> anyhow::Result<Vec<InboundKey>> {
        Ok(self.maps.connections()?)
    }

    /// The backends whose count is not the number of their records.
    pub fn compare(&mut self, records: &[InboundKey]) -> anyhow::Result<BTreeMap<BackendKey, Suspect>> {
        let mut counted: BTreeMap<BackendKey, u64> = BTreeMap::new();
        for record in records.iter().filter(|record| record.is_whole()) {
            *counted.entry(backend_of(record)).or_default() += 1;
        }
        let mut off = BTreeMap::new();
        for (key, &id) in &self.ids {
            let entry = self.maps.entry(id)?;
            let active = entry.active.load();
            let by = active.wrapping_sub(counted.get(key).copied().unwrap_or(0)).cast_signed();
            if by != 0 {
                let decided = entry.opened.load().wrapping_add(entry.reset.load());
                off.insert(*key, Suspect { off: by, active, decided });
            }
        }
        Ok(off)
    }

    /// Sets a count right that two recounts found to be off in the same way.
    pub fn set_right(&mut self, key: &BackendKey, suspect: &Suspect) -> anyhow::Result<()> {
        if let Some(&id) = self.ids.get(key) {
            // Not set: added, so that who takes a slot at this moment keeps it.
            self.maps.entry(id)?.active.fetch_add(suspect.off.wrapping_neg().cast_unsigned());
        }
        Ok(())
    }
}

fn backend_of(record: &InboundKey) -> BackendKey {
    BackendKey { address: record.backend, port: record.backend_port, protocol: Protocol::Tcp }
}
