//! Where programs of Kubernetes run: a network namespace, a cgroup, and folders for what they write.

use crate::world::{Cgroup, Netns, command_inside};
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
    pub(super) fn logs(&self) -> PathBuf {
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
