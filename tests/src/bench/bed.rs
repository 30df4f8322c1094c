//! A client's pod and three backends' pods, with Services over these in force.

use crate::ears::Backend;
use crate::mesh::Mesh;
use crate::services;
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use mesh_tests::world::{Pod, World};
use mesh_userspace::plan::DesiredService;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Backends of each Service.
const BACKENDS: usize = 3;

/// Pods, and the programs over them.
pub struct Bed {
    mesh: Mesh, // dropped before its world
    world: World,
    /// Where clients run.
    pub client: Pod,
    backends: Vec<Pod>,
    filled: u32,
}

impl Bed {
    /// Makes the pods and loads the programs.
    pub fn make() -> Result<Self> {
        let world = World::named("mesh-bench")?;
        let client = world.pod("client")?;
        let backends = (0..BACKENDS).map(|n| world.pod(&format!("backend-{n}"))).collect::<Result<_>>()?;
        let mesh = Mesh::load(&world.home().pins())?;
        Ok(Self { mesh, world, client, backends, filled: 0 })
    }

    /// Makes Services until there are `count`, each over all backends.
    pub fn fill_to(&mut self, count: u32, protocol: Protocol) -> Result<()> {
        let addresses = self.addresses()?;
        let services = (self.filled..count).map(|n| services::desired(n, protocol, addresses.iter().copied()));
        self.mesh.fill(services.collect())?;
        self.filled = count;
        Ok(())
    }

    /// Makes the Service of this number over all backends, changed as is said.
    pub fn fill_with(&mut self, number: u32, protocol: Protocol, change: fn(&mut DesiredService)) -> Result<()> {
        let (key, mut desired) = services::desired(number, protocol, self.addresses()?);
        change(&mut desired);
        self.mesh.fill(vec![(key, desired)])?;
        Ok(())
    }

    /// Puts the programs in force for the pods; their ids by hook.
    pub fn attach(&self) -> Result<BTreeMap<String, u32>> {
        self.mesh.attach(self.world.cgroup())
    }

    /// The backends, for a process that listens as all of them.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        let places = self.backends.iter().map(|pod| pod.netns().path().to_owned());
        Ok(places.zip(self.addresses()?).map(|(netns, address)| Backend { netns, address }).collect())
    }

    fn addresses(&self) -> Result<Vec<Ipv4Addr>> {
        let v4 = |pod: &Pod| if let IpAddr::V4(v4) = pod.v4() { Some(v4) } else { None };
        self.backends.iter().map(v4).collect::<Option<_>>().context("pods have IPv4 addresses")
    }
}
