//! What the programs must know of this node's pods: whose connections are left alone, and who may reach load balancers'
//! addresses.

use super::cgroups::Cgroups;
use super::told::Told;
use crate::datapath::Loaded;
use crate::model::{ObjectRef, ServiceKey};
use crate::state::{ClusterState, Sources};
use anyhow::Context;
use mesh_common::tables::{ServiceId, Settings, SourceKey};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The pods, and what the programs know of them.
#[derive(Debug)]
pub struct Pods {
    cgroups: Cgroups,
    /// Pods that are left alone, by what their cgroups are named after.
    left_alone: BTreeMap<Arc<str>, ObjectRef>,
    sources: Sources,
    told_left_alone: Told<{ size_of::<u64>() }>,
    told_sources: Told<{ size_of::<SourceKey>() }>,
    /// Whether the state has said who they are: until then what an earlier agent told holds.
    known: bool,
}

impl Pods {
    /// As an earlier agent left it. `root` is the cgroup whose sockets are served.
    pub fn adopt(loaded: &Loaded, root: &Path) -> anyhow::Result<Self> {
        let read = "read what an earlier agent told of the node's pods";
        Ok(Self {
            cgroups: Cgroups::new(root),
            left_alone: BTreeMap::new(),
            sources: Sources::default(),
            told_left_alone: Told::adopt(loaded.map("LEFT_ALONE")?).context(read)?,
            told_sources: Told::adopt(loaded.map("SOURCES")?).context(read)?,
            known: false,
        })
    }

    /// Takes in what the state says; whether that has changed.
    pub fn take(&mut self, state: &mut ClusterState) -> bool {
        let (left_alone, sources) = (state.take_left_alone(), state.take_sources());
        self.known |= state.is_synced();
        if left_alone.is_none() && sources.is_none() {
            return false;
        }
        if let Some(pods) = left_alone {
            for pod in pods.iter().filter(|(cgroup, _)| !self.left_alone.contains_key(*cgroup)).map(|(_, pod)| pod) {
                tracing::info!(%pod, "its connections are left alone");
            }
            self.left_alone = pods;
        }
        self.sources = sources.unwrap_or_else(|| std::mem::take(&mut self.sources));
        self.cgroups.want(self.left_alone.keys().chain(&self.sources.pods).cloned().collect());
        true
    }

    /// Looks for pods that were not found.
    pub fn look(&mut self) {
        self.cgroups.look();
    }

    /// The pods that are left alone, and whether the programs know.
    pub fn left_alone(&self) -> impl Iterator<Item = (&ObjectRef, bool)> {
        self.left_alone.iter().map(|(cgroup, pod)| (pod, self.cgroups.get(cgroup).is_some()))
    }

    /// Whether a pod was not found that should be there any moment.
    pub fn is_looking(&self) -> bool {
        self.cgroups.is_looking()
    }

    /// Tells the programs what there is. `account` gives a Service's.
    pub fn tell(&mut self, settings: &Settings, account: impl Fn(&ServiceKey) -> Option<ServiceId>) -> io::Result<()> {
        if !self.known {
            return Ok(());
        }
        let found = self.left_alone.keys().filter_map(|pod| self.cgroups.get(pod));
        let (mut levels, mut wanted) = (0, HashSet::new());
        for cgroup in found {
            levels |= cgroup.levels;
            wanted.insert(cgroup.id.to_ne_bytes());
        }
        // First where to look, then whom to find there; and the other way round.
        settings.left_alone.store(levels | settings.left_alone.load());
        self.told_left_alone.tell(&wanted)?;
        settings.left_alone.store(levels);
        if self.sources.services.is_empty() && self.told_sources.is_empty() {
            return Ok(());
        }
        let (mut levels, mut wanted) = (0, HashSet::new());
        for (service, clients) in &self.sources.services {
            let Some(account) = account(service) else { continue };
            for client in clients {
                let cgroup = match &client.pod {
                    None => SourceKey::NODE,
                    Some(pod) => {
                        let Some(cgroup) = self.cgroups.get(pod) else { continue };
                        levels |= cgroup.levels;
                        cgroup.id
                    }
                };
                wanted.insert(SourceKey { cgroup, account, v6: u32::from(client.v6) }.bytes());
            }
        }
        settings.sources.store(levels | settings.sources.load());
        self.told_sources.tell(&wanted)?;
        settings.sources.store(levels);
        Ok(())
    }
}
