//! A whole cluster: a control plane, and nodes with pods on them.

use super::addresses::{CONTROL_PLANE, machine};
use super::api_server::{ApiServer, PORT};
use super::components::Components;
use super::control_plane::ControlPlane;
use super::helm::Helm;
use super::images;
use super::kubectl::Kubectl;
use super::mesh::Mesh;
use super::node::Node;
use super::place;
use super::pod::Pod;
use super::settings::Settings;
use super::switch::Switch;
use super::users::User;
use crate::programs;
use crate::wait::wait_for_within;
use crate::world::{Cgroup, Home, Process};
use anyhow::{Context, Result, bail, ensure};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long nodes and pods may take: eleven seconds on an idle machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// The cluster's DNS; an administrator would install it.
const COREDNS: &str = include_str!("coredns.yaml");

/// What a cluster is to have.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, 1 to 99: node-1 in zone-1, node-2 in zone-2, and so on.
    pub nodes: u8,
    /// Whether kube-proxy serves Services.
    pub kube_proxy: bool,
    /// The mesh that serves them, beside kube-proxy or in its place.
    pub mesh: Option<Mesh>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 2, kube_proxy: true, mesh: None }
    }
}

/// A cluster that runs. Dropping it removes it: its processes, namespaces, mounts, cgroups and files, also when a test
/// panics. What a killed test leaves is removed by the next cluster or world that anybody makes.
#[derive(Debug)]
pub struct Cluster {
    control_plane: ControlPlane,
    nodes: Vec<Node>,
    first_processes: Mutex<Vec<Process>>,
    home: Home,
    kept: bool,
}

impl Cluster {
    /// A new cluster for tests, its nodes ready and its own Services served if anybody is there to serve them.
    pub fn start(options: &Options) -> Result<Self> {
        Self::named("mesh-cluster-test", options)
    }

    /// A new cluster whose name begins with `prefix`.
    pub fn named(prefix: &str, options: &Options) -> Result<Self> {
        ensure!((1..CONTROL_PLANE).contains(&options.nodes), "a cluster has 1 to {} nodes", CONTROL_PLANE - 1);
        let home = Home::create(prefix)?;
        let furnished = furnish(&home, options).inspect_err(|_| {
            // The first error is the one to show.
            home.demolish().ok();
        });
        let (control_plane, nodes, first_processes) = furnished?;
        let cluster = Self { control_plane, nodes, first_processes: Mutex::new(first_processes), home, kept: false };
        cluster.wait_nodes()?;
        cluster.apply(COREDNS)?;
        if let Some(mesh) = &options.mesh {
            mesh.install(&cluster, !options.kube_proxy)?;
        }
        if options.kube_proxy || options.mesh.is_some() {
            cluster.wait_rollout("kube-system", "deployment/coredns")?;
        }
        Ok(cluster)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.home.name()
    }

    /// Its directory and name.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its API server, controllers and scheduler.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Its API server.
    pub fn api(&self) -> &ApiServer {
        self.control_plane.api()
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by number, from 1.
    pub fn node(&self, number: u8) -> &Node {
        &self.nodes[usize::from(number) - 1]
    }

    /// A pod of the namespace `default`.
    pub fn pod(&self, name: &str) -> Pod {
        self.pod_in("default", name)
    }

    /// A pod of a namespace.
    pub fn pod_in(&self, namespace: &str, name: &str) -> Pod {
        Pod::new(self.kubectl().clone(), namespace, name)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        self.api().kubectl()
    }

    /// helm as the administrator.
    pub fn helm(&self) -> Result<Helm> {
        Helm::beside(self.kubectl())
    }

    /// Creates or changes these objects, YAML or JSON.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl().apply(manifests)
    }

    /// Waits until every pod of a namespace that is not finished is ready, and there is one.
    pub fn wait_pods(&self, namespace: &str) -> Result<()> {
        self.wait(&format!("the pods of {namespace}"), || {
            let pods = self.kubectl().get(&["pods", "--namespace", namespace, "--field-selector", RUNNING])?;
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            ensure!(!pods.is_empty(), "there is none");
            for pod in &pods {
                ensure!(is_ready(pod), "{}: {}", pod["metadata"]["name"], pod["status"]);
            }
            Ok(())
        })
    }

    /// Waits until all pods of a Deployment or DaemonSet are new and ready: `wait_rollout("default", "deployment/web")`.
    pub fn wait_rollout(&self, namespace: &str, workload: &str) -> Result<()> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let words = ["rollout", "status", "--namespace", namespace, workload, &timeout];
        self.kubectl().run(&words).map(drop).with_context(|| self.troubles(namespace))
    }

    /// Gives every node an image, from an archive.
    pub fn load(&self, archive: &std::path::Path) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.load(archive))
    }

    /// Leaves it running: [`Standing`](super::Standing) finds it again.
    pub fn keep(mut self) -> Result<()> {
        self.home.keep().context("keep the cluster")?;
        self.kept = true;
        // Its parts end their processes when they are dropped.
        std::mem::forget(self);
        Ok(())
    }

    fn wait_nodes(&self) -> Result<()> {
        self.wait("the nodes to be ready", || {
            let nodes = self.kubectl().get(&["nodes"])?;
            let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
            let ready = nodes.iter().filter(|node| is_ready(node)).count();
            ensure!(ready == self.nodes.len(), "{ready} of {} are", self.nodes.len());
            // Made by a controller: without it no pod can be.
            self.kubectl().run(&["get", "serviceaccount", "default"]).map(drop)
        })
    }

    /// Waits for a condition; fails at once when a part of the cluster has ended.
    fn wait(&self, what: &str, condition: impl Fn() -> Result<()>) -> Result<()> {
        let ended = wait_for_within(PATIENCE, what, || {
            if let Err(ended) = self.ensure_running() {
                return Ok(Err(ended));
            }
            condition().map(Ok)
        });
        ended.and_then(|ended| ended)
    }

    fn ensure_running(&self) -> Result<()> {
        self.control_plane.ensure_running()?;
        let mut processes = self.first_processes.lock().unwrap_or_else(PoisonError::into_inner);
        for (process, node) in processes.iter_mut().zip(&self.nodes) {
            if process.ended().is_some() {
                bail!("{} has ended; it said:\n{}", node.name(), process.log());
            }
        }
        Ok(())
    }

    /// What a person would look at first.
    pub(super) fn troubles(&self, namespace: &str) -> String {
        let look = |words: &[&str]| self.kubectl().run(words).unwrap_or_else(|error| format!("{error:#}\n"));
        let pods = look(&["get", "pods", "--namespace", namespace, "--output", "wide"]);
        let events = look(&["get", "events", "--namespace", namespace, "--field-selector", "type=Warning"]);
        format!("{pods}{events}")
    }
}

const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Whether the condition `Ready` of a Node or Pod is true.
fn is_ready(object: &serde_json::Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn furnish(home: &Home, options: &Options) -> Result<(ControlPlane, Vec<Node>, Vec<Process>)> {
    let components = Components::find()?;
    let root = Cgroup::create(home.cgroup()?)?;
    let archives = images::write(&components, &home.path("images"))?;
    let switch = Switch::create(home, options.nodes)?;
    let plane = place::machine(home, &switch, root.child(place::CONTROL_PLANE)?, CONTROL_PLANE)?;

    let names: Vec<_> = (1..=options.nodes).map(|number| format!("node-{number}")).collect();
    let (mut nodes, mut processes) = (Vec::new(), Vec::new());
    for (number, name) in (1..).zip(&names) {
        let cgroup = root.child(name)?;
        let own = place::machine(home, &switch, cgroup.clone(), number)?;
        let settings = Settings {
            name: name.clone(),
            zone: format!("zone-{number}"),
            number,
            addresses: own.addresses(),
            home: home.path("").components().collect(),
            folder: own.folder().to_owned(),
            programs: components.bin(),
            plugins: components.cni(),
            runc: programs::find("mesh-runc")?,
            images: archives.clone(),
            kubeconfig: ApiServer::access(&plane, &User::node(name)),
            kube_proxy: options.kube_proxy.then(|| ApiServer::access(&plane, &User::KUBE_PROXY)),
            api: (machine(CONTROL_PLANE)[0], PORT),
        };
        let (node, process) = Node::start(&settings, &own, cgroup)?;
        nodes.push(node);
        processes.push(process);
    }
    // The nodes start their containerd meanwhile.
    Ok((ControlPlane::start(&plane, &names)?, nodes, processes))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if thread::panicking() {
            eprintln!("the cluster {}:\n{}{}", self.name(), self.troubles("kube-system"), self.troubles("default"));
        }
        if let Err(error) = self.home.demolish() {
            eprintln!("could not remove the cluster {}: {error:#}", self.name());
        }
        for process in self.first_processes.get_mut().unwrap_or_else(PoisonError::into_inner) {
            process.kill();
        }
    }
}
