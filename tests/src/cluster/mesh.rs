//! The mesh on a cluster: its image on every node, and its manifests applied.

use super::whole::Cluster;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Where an administrator who installs the mesh has it from.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The archive of its image.
    pub image: PathBuf,
    /// Its manifests: the chart, rendered.
    pub manifests: PathBuf,
    /// Its DaemonSet, as `kube-system` and `mesh`.
    pub daemon_set: (String, String),
}

impl Mesh {
    /// Installs it, and waits until it runs on every node.
    pub fn install(&self, cluster: &Cluster) -> Result<()> {
        cluster.load(&self.image)?;
        let manifests = fs::read_to_string(&self.manifests);
        let manifests = manifests.with_context(|| format!("read {}", self.manifests.display()))?;
        cluster.apply(&manifests).context("install the mesh")?;
        let (namespace, name) = &self.daemon_set;
        cluster.wait_rollout(namespace, &format!("daemonset/{name}"))
    }
}
