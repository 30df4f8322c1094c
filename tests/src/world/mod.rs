//! One world: a node with pods on it, and an agent. Worlds do not meet, and leave nothing behind.

mod agent;
mod cgroup;
mod home;
mod manifests;
mod neighbour;
mod netns;
mod network;
mod pod;
mod process;

pub use agent::{Agent, NODE_NAME};
pub use cgroup::Cgroup;
pub use home::{Home, sweep};
pub use manifests::Manifests;
pub use neighbour::Neighbour;
pub use netns::Netns;
pub use network::Addresses;
pub use pod::{Pod, PodNetwork};
pub use process::Process;

pub(crate) use pod::command_inside;

use crate::client::Client;
use crate::echo::Listen;
use anyhow::{Context, Result};
use network::Network;
use std::path::{Path, PathBuf};
use std::thread;

/// A node in a network namespace of its own, with pods on a bridge and everything below one cgroup.
///
/// ```text
/// /run/mesh-worlds/<name>/        manifests, logs, the agent's socket, the namespaces' files
/// <cgroup2>/<name>/pods/<pod>     the pods; `pods` is what the agent attaches to
/// <cgroup2>/<name>/agent          the agent
/// /sys/fs/bpf/<name>              its pins
/// ```
///
/// Dropping it ends its processes and removes all of that, also when the test panics. What a killed test leaves is
/// removed by the next world that anybody makes.
#[derive(Debug)]
pub struct World {
    // Fields drop in this order, after `Drop::drop` has removed what they name.
    agent: Agent,
    network: Network,
    pods: Cgroup,
    manifests: Manifests,
    home: Home,
    kept: bool,
}

impl World {
    /// A new world for a test.
    pub fn new() -> Result<Self> {
        Self::named("mesh-test")
    }

    /// A new world whose name begins with `prefix`.
    pub fn named(prefix: &str) -> Result<Self> {
        Self::furnish(Home::create(prefix)?)
    }

    fn furnish(home: Home) -> Result<Self> {
        let furnish = || {
            let root = Cgroup::create(home.cgroup()?)?;
            let (pods, agent) = (root.child("pods")?, root.child("agent")?);
            let network = Network::create(home.path("netns").join("node"))?;
            Ok((pods, agent, network))
        };
        let furnished: Result<_> = furnish();
        let (pods, cgroup, network) = furnished.inspect_err(|_| {
            // The first error is the one to show.
            home.demolish().ok();
        })?;
        let agent = Agent::new(&home, network.node().clone(), cgroup, pods.path().to_owned());
        let manifests = Manifests::new(home.path("manifests"));
        Ok(Self { agent, network, pods, manifests, home, kept: false })
    }

    /// Makes a pod with addresses of its own.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let cgroup = self.pods.child(name)?;
        let (netns, addresses) = self.network.plug(self.home.path("netns").join(name))?;
        Ok(Pod::new(name, (netns, addresses, PodNetwork::Own), cgroup, self.home.path("logs")))
    }

    /// Makes a pod in the node's network: `hostNetwork: true`.
    pub fn host_pod(&self, name: &str) -> Result<Pod> {
        let place = (self.network.node().clone(), Addresses::NODE, PodNetwork::Host);
        Ok(Pod::new(name, place, self.pods.child(name)?, self.home.path("logs")))
    }

    /// Makes a pod with the echo server on these ports.
    pub fn backend(&self, name: &str, ports: &[Listen]) -> Result<Pod> {
        let pod = self.pod(name)?;
        pod.serve(ports).map(|_runs_until_the_pod_ends| pod)
    }

    /// Makes a pod with a client in it.
    pub fn client(&self, name: &str) -> Result<Client> {
        self.pod(name)?.client()
    }

    /// Makes a machine that is no pod of this node, with addresses on the pods' network: the agent's programs do not cover its
    /// processes.
    pub fn outsider(&self, name: &str) -> Result<Pod> {
        let (netns, addresses, cgroup) = self.guest(name)?;
        Ok(Pod::new(name, (netns, addresses, PodNetwork::Own), cgroup, self.home.path("logs")))
    }

    /// Makes a place for a machine that is no pod of this node: its addresses are on the pods' network, and the agent's
    /// programs do not cover its processes.
    pub(crate) fn guest(&self, name: &str) -> Result<(Netns, Addresses, Cgroup)> {
        let cgroup = Cgroup::create(self.home.cgroup()?.join(name))?;
        let (netns, addresses) = self.network.plug(self.home.path("netns").join(name))?;
        Ok((netns, addresses, cgroup))
    }

    /// Puts Kubernetes objects, YAML or JSON, before the agent, each in place of what had its name.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.manifests.apply(manifests)
    }

    /// The agent's manifest directory.
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// The agent. A new world's is not running: [`Agent::start`].
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// An agent of the same node that fills maps of its own, as if none had been before, over pods that are not there.
    /// Each call needs another name.
    pub fn fresh_agent(&self, name: &str) -> Result<Agent> {
        let nobody = Cgroup::create(self.home.cgroup()?.join(name))?;
        let agent = self.agent.another(name).over(self.home.pins().join(name), &nobody);
        Ok(agent.answering(self.home.path(&format!("{name}.sock"))))
    }

    /// Mounts a small file system in memory in the world's directory, with these options of tmpfs, and returns where.
    pub fn small_disk(&self, name: &str, options: &str) -> Result<PathBuf> {
        self.home.mount(name, options)
    }

    /// The world's name.
    pub fn name(&self) -> &str {
        self.home.name()
    }

    /// The cgroup of all pods, which the agent's programs cover.
    pub fn cgroup(&self) -> &Path {
        self.pods.path()
    }

    /// The world's directory and name.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Leaves everything running; `Home::abandoned` finds it again.
    pub fn keep(mut self) -> Result<()> {
        self.home.keep().context("keep the world")?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if thread::panicking() {
            let log = self.agent.log();
            if !log.is_empty() {
                eprintln!("the agent of {} said:\n{log}", self.name());
            }
        }
        if let Err(error) = self.home.demolish() {
            eprintln!("could not remove the world {}: {error:#}", self.name());
        }
    }
}
