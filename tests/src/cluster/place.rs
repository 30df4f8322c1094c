//! Where programs of Kubernetes run: a network namespace, a cgroup, and folders for what they write.

use super::addresses;
use super::switch::Switch;
use crate::world::{Cgroup, Home, Netns, command_inside};
use anyhow::{Context, Result};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine of its own to the programs in it. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Place {
    netns: Netns,
    cgroup: Cgroup,
    folder: PathBuf,
    addresses: [IpAddr; 2],
}

impl Place {
    /// A place with an IPv4 and an IPv6 address, whose programs write below `folder`, which is made.
    pub(super) fn new(netns: Netns, cgroup: Cgroup, folder: PathBuf, addresses: [IpAddr; 2]) -> Result<Self> {
        let place = Self { netns, cgroup, folder, addresses };
        fs::create_dir_all(place.logs()).with_context(|| format!("make {}", place.logs().display()))?;
        Ok(place)
    }

    /// Its network.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What its programs write.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What they say.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// A command that will run inside.
    pub(super) fn command(&self, program: &Path) -> Result<Command> {
        command_inside(program, &self.netns, &self.cgroup)
    }
}

/// The control plane's name among the machines of a cluster.
pub(super) const CONTROL_PLANE: &str = "control-plane";

/// A machine of a cluster, plugged into its switch; it has the name of its cgroup.
pub(super) fn machine(home: &Home, switch: &Switch, cgroup: Cgroup, number: u8) -> Result<Place> {
    let name = cgroup.path().file_name().context("a cgroup has a name")?.to_string_lossy().into_owned();
    let netns = switch.plug(home, &name, number)?;
    Place::new(netns, cgroup, home.path(&name), addresses::machine(number))
}

/// The control plane of a cluster that somebody else has started.
pub(super) fn control_plane(home: &Home) -> Result<Place> {
    let netns = Netns::open(home.path("netns").join(CONTROL_PLANE))?;
    let cgroup = Cgroup::at(home.cgroup()?.join(CONTROL_PLANE));
    Place::new(netns, cgroup, home.path(CONTROL_PLANE), addresses::machine(addresses::CONTROL_PLANE))
}
