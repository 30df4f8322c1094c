//! The data path in this process, as the agent has it, without an agent around.

use anyhow::{Context, Result, bail};
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::config::EventSampling;
use mesh_userspace::datapath::{self, Cgroup, HOOKS, Loaded, Pins, Sizes};
use mesh_userspace::maps::{KernelMaps, Maps};
use mesh_userspace::model::ServiceKey;
use mesh_userspace::plan::DesiredService;
use mesh_userspace::reconcile::Reconciler;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Programs and maps below their own pins; dropping it takes them away.
pub struct Mesh {
    loaded: Loaded,
    reconciler: Reconciler<KernelMaps>,
}

impl Mesh {
    /// Loads programs and empty maps, with the agent's usual sizes and sampling. Nothing is attached.
    pub fn load(pins: &Path) -> Result<Self> {
        let loaded = datapath::load(&Pins::new(pins), &Sizes::default()).context("load the programs")?;
        let maps = KernelMaps::new(descriptors(loaded.pins())?).context("map the arrays into memory")?;
        let sampling = EventSampling::default();
        let settings = maps.arrays().settings;
        settings.unsampled.store(u64::from(sampling.one_choice_in).next_power_of_two() - 1);
        settings.event_cost.store(1_000_000_000 / u64::from(sampling.per_second));
        Ok(Self { loaded, reconciler: Reconciler::new(maps) })
    }

    /// Writes Services into the maps, and returns how long that took.
    pub fn fill(&mut self, services: Vec<(ServiceKey, DesiredService)>) -> Result<Duration> {
        let started = Instant::now();
        for (key, desired) in services {
            self.reconciler.set(key, Some(desired));
        }
        self.reconciler.first_list_done();
        self.reconciler.sync(Instant::now());
        let took = started.elapsed();
        if let Some((subject, pending)) = self.reconciler.pending().next() {
            bail!("{subject:?} is not in the maps: {pending:?}");
        }
        Ok(took)
    }

    /// Puts the programs in force, and returns their ids by hook.
    pub fn attach(&self, cgroup: &Path) -> Result<BTreeMap<String, u32>> {
        datapath::attach(&self.loaded, &Cgroup::open(cgroup)?).context("attach the programs")?;
        let mut programs = BTreeMap::new();
        for hook in &HOOKS {
            let attached = datapath::attached(self.loaded.pins(), hook)?;
            programs.insert(hook.name.to_owned(), attached.context(hook.name)?.program);
        }
        Ok(programs)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // The world that the pins are in removes what is left.
        datapath::unload(self.loaded.pins()).ok();
    }
}
