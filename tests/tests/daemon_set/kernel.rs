//! What mesh has in a node's kernel, by the kernel's own numbers, and whether any of it is left.

use anyhow::{Context, Result, ensure};
use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use mesh_tests::cluster::Node;
use mesh_tests::wait::{wait_for, wait_for_within};
use mesh_userspace::bpf::{link_info, map_info, open_pin};
use mesh_userspace::config::DEFAULT_PINS;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// The ids of all that is pinned on a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pinned {
    pub maps: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
    /// Behind the links.
    pub programs: BTreeSet<u32>,
}

impl Pinned {
    /// What the agent of a node has pinned, which must be something.
    pub fn on(node: &Node) -> Result<Self> {
        let mut pinned = Self::default();
        for layout in fs::read_dir(node.path(Path::new(DEFAULT_PINS))?).context("read the pins")? {
            let layout = layout?.path();
            for pin in fs::read_dir(layout.join("maps"))? {
                pinned.maps.insert(map_info(open_pin(&pin?.path())?.as_fd())?.id);
            }
            for pin in fs::read_dir(layout.join("links"))? {
                let link = link_info(open_pin(&pin?.path())?.as_fd())?;
                pinned.links.insert(link.id);
                pinned.programs.insert(link.prog_id);
            }
        }
        let all = [&pinned.maps, &pinned.links, &pinned.programs];
        ensure!(all.iter().all(|ids| !ids.is_empty()), "on {}: {pinned:?}", node.name());
        Ok(pinned)
    }

    /// Waits until the kernel has none of it any more.
    pub fn wait_gone(&self) -> Result<()> {
        wait_for("the kernel to have nothing of mesh any more", || {
            let maps: BTreeSet<u32> = loaded_maps().filter_map(Result::ok).map(|map| map.id()).collect();
            let links: BTreeSet<u32> = loaded_links().filter_map(Result::ok).map(|link| link.id()).collect();
            let programs: BTreeSet<u32> =
                loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect();
            let left = |ours: &BTreeSet<u32>, there| ours.intersection(there).copied().collect::<Vec<_>>();
            let left = [left(&self.maps, &maps), left(&self.links, &links), left(&self.programs, &programs)];
            ensure!(left.iter().all(Vec::is_empty), "maps, links and programs: {left:?}");
            Ok(())
        })
    }
}

/// Waits until there is no pin on a node, and no process of mesh.
pub fn wait_clean(node: &Node) -> Result<()> {
    wait_for_within(ENDING, &format!("{} to have nothing of mesh any more", node.name()), || ensure_clean(node))
}

/// How long pods may take that have been deleted.
const ENDING: Duration = Duration::from_mins(1);

fn ensure_clean(node: &Node) -> Result<()> {
    let pins = node.enter(&["ls", "-A", "/sys/fs/bpf"])?;
    // The kernel's own, in every BPF file system.
    let pins: Vec<_> = pins.lines().filter(|pin| !["maps.debug", "progs.debug"].contains(pin)).collect();
    ensure!(pins.is_empty(), "on {} is left {pins:?}", node.name());
    let sockets = node.enter(&["find", "/run/mesh", "-type", "s"])?;
    ensure!(sockets.is_empty(), "on {} is left {sockets}", node.name());
    let agents = agents(node)?;
    ensure!(agents.is_empty(), "on {} runs {agents:?}", node.name());
    Ok(())
}

/// The `status` in /proc of every process of mesh on a node.
pub fn agents(node: &Node) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in fs::read_dir(node.path(Path::new("/proc"))?).context("list the node's processes")? {
        let process = process?.path();
        // Most entries are no process, or one that has ended in between.
        if fs::read_link(process.join("exe")).is_ok_and(|program| program.ends_with("mesh")) {
            found.extend(fs::read_to_string(process.join("status")).ok());
        }
    }
    Ok(found)
}
