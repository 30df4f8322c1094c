//! What a cluster leaves when it goes.

use anyhow::{Context, Result};
use mesh_tests::cluster::{Cluster, Options};
use std::fs;

#[test]
fn nothing_stays_of_a_cluster() -> Result<()> {
    let cluster = Cluster::start(&Options { nodes: 1, kube_proxy: false, mesh: None })?;
    let (name, place, cgroup) = (cluster.name().to_owned(), cluster.home().path(""), cluster.home().cgroup()?);
    let first = cluster.node(1).first_process()?;
    assert!(running(&name)?.contains(&first.to_string()), "{:?}", running(&name)?);
    drop(cluster);
    assert!(!place.exists() && !cgroup.exists(), "{} {}", place.display(), cgroup.display());
    assert_eq!(running(&name)?, Vec::<String>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    assert!(!mounts.contains(&name), "{mounts}");
    Ok(())
}

/// The processes whose cgroup or arguments name the cluster.
fn running(name: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list processes")? {
        let process = entry?.file_name().to_string_lossy().into_owned();
        if process.parse::<u32>().is_err() {
            continue;
        }
        // One that ends in between names nothing.
        let read = |file: &str| fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
        let text = [read("cgroup"), read("cmdline")].concat();
        // One that has ended and waits for its parent to notice is in its cgroup by name only.
        let ended = String::from_utf8_lossy(&read("status")).contains("State:\tZ");
        if !ended && String::from_utf8_lossy(&text).contains(name) {
            found.push(process);
        }
    }
    Ok(found)
}
