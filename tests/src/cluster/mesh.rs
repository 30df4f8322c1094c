//! The mesh on a cluster: its image on every node, and its chart, rendered by helm and applied.

use super::components::Components;
use super::whole::Cluster;
use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The namespace that the chart installs into.
pub const NAMESPACE: &str = "mesh-system";

/// Where an administrator who installs the mesh has it from, and with which of the chart's values.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The archive of its image.
    pub image: PathBuf,
    /// The folder of its chart.
    pub chart: PathBuf,
    /// Values of the chart, as `logLevel=debug`.
    pub values: Vec<String>,
}

impl Mesh {
    /// The image that `cargo xtask image` has made last, and the chart of this workspace.
    pub fn of_this_workspace() -> Result<Self> {
        let own = env::current_exe().context("find the running program")?;
        let image = own.ancestors().skip(1).map(|target| target.join("image/mesh.tar")).find(|path| path.is_file());
        let image = image.context("there is no image of mesh: cargo xtask image makes it")?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/mesh");
        ensure!(chart.is_dir(), "there is no chart at {}", chart.display());
        Ok(Self { image, chart, values: Vec::new() })
    }

    /// Installs it, and waits until it is ready on every node. `alone`: it is there in kube-proxy's place.
    pub fn install(&self, cluster: &Cluster, alone: bool) -> Result<()> {
        cluster.load(&self.image)?;
        let host = cluster.api().place().addresses()[0];
        let values = [format!("apiServer.host={host}"), format!("proxyReplacement={alone}")];
        cluster.apply(&self.render(&values)?).context("install the mesh")?;
        cluster.wait_rollout(NAMESPACE, "daemonset/mesh")
    }

    fn render(&self, values: &[String]) -> Result<String> {
        let mut helm = Command::new(Components::find()?.program("helm")?);
        helm.args(["template", "mesh"]).arg(&self.chart).args(["--namespace", NAMESPACE, "--include-crds"]);
        for value in values.iter().chain(&self.values) {
            helm.args(["--set", value]);
        }
        let output = helm.output().context("run helm")?;
        ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).context("what helm wrote")
    }
}
