//! Of two agents one tells what is wrong with an object, once; when its pod goes, the other does (33).

use super::stage::Stage;
use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::{Mesh, NAMESPACE};
use mesh_tests::wait::wait_for_within;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// The agent that does not tell looks for the Lease every 15 s at most.
const PATIENCE: Duration = Duration::from_mins(1);

/// One Event for a bad object, and one for the next, from the other agent.
pub fn by_one_agent(stage: &Stage) -> Result<()> {
    let first = wait_for_within(PATIENCE, "one agent to have the Lease", || holder(stage))?;
    apply(stage, "first")?;
    let told = told(stage, "first", &first)?;

    // With nobody to place pods, the leader's has no successor that would take the Lease back.
    let node = stage.cluster.nodes().iter().find(|node| node.name() == first).context("the leader's node")?;
    let pod = Mesh::pod(&stage.cluster, node)?;
    let scheduler = stage.cluster.control_plane().scheduler();
    scheduler.signal(Signal::SIGSTOP)?;
    stage.cluster.kubectl().delete(&["pod", "--namespace", NAMESPACE, &pod])?;
    let second = wait_for_within(PATIENCE, "the other agent to have it", || {
        let second = holder(stage)?;
        ensure!(second != first, "{second} has it");
        Ok(second)
    });
    scheduler.resume()?;
    let second = second?;
    apply(stage, "second")?;
    self::told(stage, "second", &second)?;
    // The new leader has said nothing again.
    ensure!(events(stage, "first")? == told, "{:?}", events(stage, "first")?);
    stage.cluster.wait_rollout(NAMESPACE, "daemonset/mesh")?;
    stage.cluster.kubectl().delete(&["service", "first", "second", "--namespace=default"])
}

/// A Service that asks for what mesh does not serve.
fn apply(stage: &Stage, name: &str) -> Result<()> {
    stage.cluster.apply(
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        })
        .to_string(),
    )
}

/// Waits until the object has its condition and its Events, one for each thing that is wrong, all from this node.
fn told(stage: &Stage, name: &str, node: &str) -> Result<Vec<Value>> {
    wait_for_within(PATIENCE, &format!("{name} to be told"), || {
        let service = stage.cluster.kubectl().get(&["service", name])?;
        let conditions = service["status"]["conditions"].to_string();
        ensure!(conditions.contains("mesh.dev/Unsupported"), "{conditions}");
        let events = events(stage, name)?;
        ensure!(!events.is_empty(), "there is no Event");
        Ok(())
    })?;
    // A second voice would have been heard by now, or with the next object.
    let events = events(stage, name)?;
    let mut notes: Vec<_> = events.iter().map(|event| event["note"].to_string()).collect();
    notes.sort();
    notes.dedup();
    ensure!(notes.len() == events.len(), "told twice: {events:?}");
    for event in &events {
        ensure!(event["reportingInstance"] == node && event["series"].is_null(), "{node} should tell it once: {event}");
    }
    Ok(events)
}

fn events(stage: &Stage, name: &str) -> Result<Vec<Value>> {
    let list = stage.cluster.kubectl().get(&["events.events.k8s.io", "--namespace=default"])?;
    let all = list["items"].as_array().context("a list of Events")?;
    let about = |event: &&Value| event["regarding"]["kind"] == "Service" && event["regarding"]["name"] == name;
    let fields = |event: &Value| {
        let mut event = event.clone();
        event["metadata"] = json!(event["metadata"]["name"]);
        event
    };
    Ok(all.iter().filter(about).filter(|event| event["reportingController"] == "mesh.dev/agent").map(fields).collect())
}

/// The node of the agent that has the Lease.
fn holder(stage: &Stage) -> Result<String> {
    let lease = stage.cluster.kubectl().get(&["lease", "mesh-report", "--namespace", NAMESPACE])?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let node = holder.split('/').next().unwrap_or_default();
    ensure!(!node.is_empty(), "nobody has it: {lease}");
    Ok(node.to_owned())
}
