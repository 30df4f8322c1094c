//! A second node of a world: a network namespace, pods and an agent of its own, on one network with the first.

use super::{Agent, Cgroup, Netns, Pod, PodNetwork, World};
use crate::client::Client;
use anyhow::Result;

/// A node beside the world's first.
#[derive(Debug)]
pub struct Neighbour<'w> {
    world: &'w World,
    name: String,
    node: Netns,
    pods: Cgroup,
    agent: Agent,
}

impl World {
    /// Makes a second node. Its agent follows the world's manifests, too, and is not running.
    pub fn neighbour(&self, name: &str) -> Result<Neighbour<'_>> {
        let pods = Cgroup::create(self.home.cgroup()?.join(format!("{name}-pods")))?;
        let node = self.network.neighbour(self.home.path("netns").join(name))?;
        let agent = self.agent.another(name).within(node.clone()).over(self.home.pins().join(name), &pods);
        let agent = agent.answering(self.home.path(&format!("{name}.sock")));
        Ok(Neighbour { world: self, name: name.to_owned(), node, pods, agent })
    }
}

impl Neighbour<'_> {
    /// Its agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Makes a pod on it, whose name is the node's and this.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let name = format!("{}-{name}", self.name);
        let cgroup = self.pods.child(&name)?;
        let path = self.world.home.path("netns").join(&name);
        let (netns, addresses) = self.world.network.plug_at(&self.node, path)?;
        Ok(Pod::new(&name, (netns, addresses, PodNetwork::Own), cgroup, self.world.home.path("logs")))
    }

    /// Makes a pod with a client on it.
    pub fn client(&self, name: &str) -> Result<Client> {
        self.pod(name)?.client()
    }
}
