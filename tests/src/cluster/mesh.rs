//! The mesh on a cluster: its image on every node, and its chart, installed by helm.

use super::images;
use super::node::Node;
use super::whole::Cluster;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};

/// The namespace and the name that it is installed under: its DaemonSet is `mesh` in `mesh-system`.
pub const NAMESPACE: &str = "mesh-system";
const RELEASE: &str = "mesh";

/// Names the archive of an image, as `cargo xtask image` makes it, to be installed.
const VARIABLE: &str = "MESH_IMAGE";

/// Where an administrator who installs the mesh has it from, and with which of the chart's values.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The archive of its image; one of the `mesh` that was built beside the running program if none is named.
    pub image: Option<PathBuf>,
    /// The folder of its chart.
    pub chart: PathBuf,
    /// Values of the chart, as `logLevel=debug`.
    pub values: Vec<String>,
}

impl Mesh {
    /// The `mesh` that was built beside the running program, or the image that `MESH_IMAGE` names; and the chart of this
    /// workspace.
    pub fn of_this_workspace() -> Result<Self> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/mesh");
        ensure!(chart.is_dir(), "there is no chart at {}", chart.display());
        let image = env::var_os(VARIABLE).map(PathBuf::from);
        if let Some(image) = &image {
            ensure!(image.is_file(), "{VARIABLE}={} is no file: cargo xtask image writes one", image.display());
        }
        Ok(Self { image, chart, values: Vec::new() })
    }

    /// Gives every node its image.
    pub fn load(&self, cluster: &Cluster) -> Result<()> {
        if let Some(image) = &self.image {
            return cluster.load(image);
        }
        let archive = cluster.home().path("images/mesh.tar");
        images::write_mesh(&archive)?;
        cluster.load(&archive)
    }

    /// Gives every node its image, installs it, and waits until it is ready on every node. `alone`: it is there in
    /// kube-proxy's place.
    pub fn install(&self, cluster: &Cluster, alone: bool) -> Result<()> {
        self.load(cluster)?;
        let mut values = self.values.clone();
        values.push(format!("proxyReplacement={alone}"));
        // Beside kube-proxy it would not need it.
        values.push(format!("apiServer.host={}", cluster.api().place().addresses()[0]));
        let mut arguments = vec!["--create-namespace"];
        for value in &values {
            arguments.extend(["--set", value]);
        }
        self.helm(cluster, "install", &arguments)
    }

    /// Changes values of what is installed, `apiServer.port=6443`, and keeps all others; waits until every node has them.
    pub fn upgrade(&self, cluster: &Cluster, values: &[&str]) -> Result<()> {
        let mut arguments = vec!["--reuse-values"];
        for value in values {
            arguments.extend(["--set", value]);
        }
        self.helm(cluster, "upgrade", &arguments)
    }

    /// Removes all that the chart has made but its definitions. The data path is the kernel's: `remove=true` takes it away.
    pub fn uninstall(&self, cluster: &Cluster) -> Result<()> {
        let words = ["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"];
        cluster.helm()?.run(&words).map(drop)
    }

    /// The name of the pod of its DaemonSet that runs on a node.
    pub fn pod(cluster: &Cluster, node: &Node) -> Result<String> {
        let on = format!("spec.nodeName={}", node.name());
        let list = cluster.kubectl().get(&["pods", "--namespace", NAMESPACE, "--field-selector", &on])?;
        // One that is about to go stays listed beside its successor.
        let staying =
            list["items"].as_array().into_iter().flatten().find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let name = staying.and_then(|pod| pod["metadata"]["name"].as_str());
        name.map(str::to_owned).with_context(|| format!("{} has no pod of mesh", node.name()))
    }

    /// Runs `mesh <words> -o json` in the pod on a node and returns what it says, whatever its exit code.
    pub fn ask(cluster: &Cluster, node: &Node, words: &[&str]) -> Result<Value> {
        let pod = cluster.pod_in(NAMESPACE, &Self::pod(cluster, node)?);
        let output = pod.command(&[&["/mesh"], words, &["-o", "json"]].concat())?.output().context("run kubectl")?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said)
            .with_context(|| format!("mesh {words:?} on {} said {said}{complained}", node.name()))
    }

    fn helm(&self, cluster: &Cluster, verb: &str, arguments: &[&str]) -> Result<()> {
        let chart = self.chart.to_str().context("the chart's folder has a name in UTF-8")?;
        let words = [verb, RELEASE, chart, "--namespace", NAMESPACE, "--wait", "--timeout=3m"];
        let done = cluster.helm()?.run(&[&words, arguments].concat());
        done.map(drop).with_context(|| cluster.troubles(NAMESPACE))
    }
}
