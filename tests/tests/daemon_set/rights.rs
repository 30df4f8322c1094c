//! The agent has the chart's rights and no others, and says which one it misses.

use super::kernel::agents;
use super::stage::Stage;
use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::{Kubectl, Mesh, NAMESPACE, Node};
use mesh_tests::wait::wait_for;
use serde_json::Value;

/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, as /proc writes them.
pub const DEFAULT: &str = "0000000000201000";

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF`: with `endConnections=false`.
pub const WITHOUT_ENDING: &str = "000000c000001000";

/// The role that the chart makes for all namespaces.
const ROLE: &str = "mesh-system-mesh";

/// The running processes have exactly these capabilities, whatever their program would like.
pub fn are_exactly(stage: &Stage, capabilities: &str) -> Result<()> {
    for node in stage.cluster.nodes() {
        let running = agents(node)?;
        ensure!(running.len() == 1, "on {}: {running:?}", node.name());
        for (field, value) in [
            ("CapEff", capabilities),
            ("CapPrm", capabilities),
            ("CapBnd", capabilities),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ] {
            let line = format!("{field}:\t{value}");
            ensure!(running[0].lines().any(|found| found == line), "no {line} in\n{}", running[0]);
        }
    }
    Ok(())
}

/// The account of the DaemonSet is no administrator.
pub fn are_no_administrators(stage: &Stage) -> Result<()> {
    for (allowed, words) in [
        (true, "watch services -A"),
        (true, "watch endpointslices.discovery.k8s.io -A"),
        (false, "* * -A"),
        (false, "get secrets -A"),
        (false, "create pods -A"),
        (false, "patch services -A"),
        (false, "patch nodes"),
    ] {
        let mut arguments = vec!["auth", "can-i", "--as=system:serviceaccount:mesh-system:mesh"];
        arguments.extend(words.split(' '));
        // It exits with 1 for "no".
        let output = stage.cluster.kubectl().command(&arguments)?.output().context("run kubectl")?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!((said == "yes") == allowed, "{words}: {said}");
    }
    Ok(())
}

/// An agent that starts without a right says which, is not ready, and leaves the data path as it was; it goes on when it has
/// the right.
pub fn missing_are_named(stage: &Stage) -> Result<()> {
    let (kubectl, node) = (stage.cluster.kubectl(), stage.cluster.node(1));
    let mut role = kubectl.get(&["clusterrole", ROLE])?;
    let metadata = role["metadata"].as_object_mut().context("a role has metadata")?;
    metadata.retain(|name, _| ["name", "labels", "annotations"].contains(&name.as_str()));
    let mut less = role.clone();
    let rules = less["rules"].as_array_mut().context("a role has rules")?;
    rules.retain(|rule| rule["resources"] != serde_json::json!(["endpointslices"]));
    ensure!(less != role, "the role has no rule of its own for slices: {role}");

    replace(kubectl, &less)?;
    let former = Mesh::pod(&stage.cluster, node)?;
    kubectl.delete(&["pod", "--namespace", NAMESPACE, &former])?;
    wait_for("the agent to say what it misses", || {
        let status = Mesh::ask(&stage.cluster, node, &["status"])?;
        let error = status["sources"][0]["error"].as_str().unwrap_or_default();
        ensure!(error.contains("forbidden") && error.contains("endpointslices"), "{status}");
        ensure!(status["health"] == "starting", "{status}");
        Ok(())
    })?;
    ensure!(ready_pod(stage, node).is_err(), "it is ready without its slices");
    replace(kubectl, &role)?;
    stage.cluster.wait_rollout(NAMESPACE, "daemonset/mesh")?;
    ready_pod(stage, node)
}

fn replace(kubectl: &Kubectl, role: &Value) -> Result<()> {
    kubectl.run_with(&["replace", "-f", "-"], &role.to_string()).map(drop)
}

fn ready_pod(stage: &Stage, node: &Node) -> Result<()> {
    let pod = Mesh::pod(&stage.cluster, node)?;
    let pod = stage.cluster.kubectl().get(&["pod", "--namespace", NAMESPACE, &pod])?;
    let status = &pod["status"]["containerStatuses"][0];
    ensure!(status["ready"] == true, "{status}");
    Ok(())
}
