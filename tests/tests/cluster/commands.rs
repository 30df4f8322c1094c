//! A cluster as a person has it: brought up with mesh by a command, worked with by name, taken away.

use anyhow::{Context, Result, ensure};
use mesh_tests::programs::find;
use mesh_tests::world::Home;
use std::process::Command;

fn cluster(words: &[&str]) -> Result<String> {
    let output = Command::new(find("mesh-cluster")?).args(words).output().context("run mesh-cluster")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{words:?}: {said}{complained}");
    Ok(said.into_owned())
}

#[test]
fn a_person_brings_a_cluster_up_with_mesh_works_with_it_and_takes_it_away() -> Result<()> {
    let said = cluster(&["up", "--nodes", "1", "--proxy", "mesh", "--set", "logLevel=warn"])?;
    let up = said.lines().find_map(|line| line.split_once(" is up after "));
    let (name, _) = up.with_context(|| format!("no cluster is up:\n{said}"))?;
    let worked = work(name);
    let down = cluster(&["--cluster", name, "down"]);
    worked?;
    ensure!(down?.contains(name));
    ensure!(Home::all(name).is_empty(), "something of {name} is left");
    let error = cluster(&["--cluster", name, "kubectl", "get", "nodes"]).unwrap_err();
    ensure!(format!("{error:#}").contains("is up"), "{error:#}");
    Ok(())
}

fn work(name: &str) -> Result<()> {
    let status = cluster(&["status"])?;
    ensure!(status.contains(name) && status.contains("node-1"), "{status}");
    let pods = cluster(&["--cluster", name, "kubectl", "get", "pods", "--all-namespaces", "--output=name"])?;
    ensure!(pods.contains("pod/mesh-") && pods.contains("pod/coredns-"), "{pods}");
    let words = ["kubectl", "--namespace=mesh-system", "exec", "daemonset/mesh", "--", "/mesh", "service", "list"];
    let services = cluster(&[&["--cluster", name], &words[..]].concat())?;
    ensure!(services.contains("kube-dns"), "{services}");
    let releases = cluster(&["--cluster", name, "helm", "list", "--namespace=mesh-system", "--short"])?;
    ensure!(releases.trim() == "mesh", "{releases}");
    let host = cluster(&["--cluster", name, "enter", "node-1", "--", "hostname"])?;
    ensure!(host.trim() == "node-1", "{host}");
    Ok(())
}
