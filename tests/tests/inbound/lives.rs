//! The limit holds whatever becomes of the agent.

use super::{CLUSTER_IP, Scene, is_refused, limits, wishes};
use anyhow::{Context, Result, ensure};
use mesh_tests::wait::wait_for;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;

#[test]
fn the_limit_goes_on_without_the_agent_and_the_next_agent_adopts_it() -> Result<()> {
    goes_on(&Scene::new(Some(3))?)
}

/// With a limit of 3.
pub(super) fn goes_on(scene: &Scene) -> Result<()> {
    let at = scene.at();
    let mut held = scene.outsider.connect_many(at, 2)?;
    scene.counts(2)?;
    scene.world.agent().kill()?;
    held.push(scene.outsider.connect(at)?);
    is_refused(&scene.outsider, at);
    held.pop().context("one of three")?.close()?;
    // Its FIN is seen, and the slot is free, without anybody else's help.
    wait_for("a slot to be free", || scene.outsider.connect(at).map(|connection| held.push(connection)))?;
    is_refused(&scene.outsider, at);
    scene.world.agent().start()?;
    scene.in_force(3)?;
    scene.counts(3)?;
    is_refused(&scene.outsider, at);
    scene.world.apply(&limits(4))?;
    scene.in_force(4)?;
    held.push(scene.outsider.connect(at)?);
    is_refused(&scene.outsider, at);
    // The policy goes while no agent runs: the next one takes the limit away.
    scene.world.agent().kill()?;
    scene.world.apply(&wishes(&json!({"maxConnections": 100})))?;
    is_refused(&scene.outsider, at);
    scene.world.agent().start()?;
    scene.wait(scene.backend.v4(), "no limit", Value::is_null)?;
    wait_for("the programs to be taken off", || {
        let attached = attached(scene)?;
        ensure!(attached.is_empty(), "{attached:?}");
        Ok(())
    })?;
    held.extend(scene.outsider.connect_many(at, 3)?);
    ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    Ok(())
}

#[test]
fn unload_takes_the_programs_off_the_interfaces() -> Result<()> {
    unloaded(&Scene::new(Some(0))?)
}

/// With a limit of 0.
pub(super) fn unloaded(scene: &Scene) -> Result<()> {
    is_refused(&scene.outsider, scene.at());
    ensure!(attached(scene)?.len() == 2, "{:?}", attached(scene)?);
    scene.world.agent().stop()?;
    is_refused(&scene.outsider, scene.at());
    scene.world.agent().unload()?;
    ensure!(attached(scene)?.is_empty(), "{:?}", attached(scene)?);
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1");
    Ok(())
}

#[test]
fn two_nodes_each_with_its_agent_keep_each_limit_at_its_end() -> Result<()> {
    let scene = Scene::new(Some(3))?;
    let home = scene.world.home();
    let node = scene.world.outsider("node-2")?;
    let agent = scene.world.agent().another("node-2").of("node-2").within(node.netns().clone());
    let agent = agent.over(home.pins().join("node-2"), node.cgroup()).answering(home.path("node-2.sock"));
    scene.world.apply(&wishes(&json!({"maxConnectionsPerBackend": 2, "maxInboundConnectionsPerBackend": 3})))?;
    agent.start()?;
    let service = SocketAddr::new(CLUSTER_IP.parse()?, 80);
    let far = node.client()?;
    let mut held = far.connect_many(service, 2)?;
    ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    scene.counts(2)?;
    // At its own end: the third SYN is never sent.
    is_refused(&far, service);
    ensure!(agent.status()?["refusals"]["backend-limit"] == 1 && scene.packets("inbound-limit")? == 0);
    // At the backend's end, where this node's pods count, too, and this node's agent has let in one only.
    let near = scene.world.client("near")?;
    held.push(near.connect(service)?);
    scene.counts(3)?;
    is_refused(&near, service);
    ensure!(scene.world.agent().status()?["refusals"]["backend-limit"] == 0 && scene.packets("inbound-limit")? == 1);
    // The other node's agent keeps none of the backend's, and has nothing to complain of.
    let status = agent.status()?;
    ensure!(status["inbound"]["inForce"] == 0 && status["health"] == "ok", "{status:#}");
    // Neither agent is needed.
    agent.kill()?;
    scene.world.agent().kill()?;
    is_refused(&far, service);
    is_refused(&near, service);
    held.pop().context("one of three")?.close()?;
    wait_for("a slot to be free", || near.connect(service).map(|connection| held.push(connection)))?;
    is_refused(&near, service);
    agent.unload()
}

#[test]
fn the_capability_to_configure_networks_is_enough() -> Result<()> {
    let scene = Scene::new(None)?;
    scene.world.agent().kill()?;
    scene.world.apply(&limits(1))?;
    scene.world.agent().spawn_able(&["BPF", "NET_ADMIN", "PERFMON"])?;
    scene.world.agent().wait_ready()?;
    scene.in_force(1)?;
    let _held = scene.outsider.connect(scene.at())?;
    is_refused(&scene.outsider, scene.at());
    Ok(())
}

/// The programs at interfaces: pins of links, and names of filters.
pub(super) fn attached(scene: &Scene) -> Result<Vec<String>> {
    let mut found = super::clsact::Filters::of(scene)?.names()?;
    found.retain(|filter| filter.starts_with("mesh"));
    for layout in fs::read_dir(scene.world.agent().pins()).into_iter().flatten() {
        for link in fs::read_dir(layout?.path().join("links")).into_iter().flatten() {
            let name = link?.file_name().to_string_lossy().into_owned();
            found.extend(name.starts_with("tc_").then_some(name));
        }
    }
    Ok(found)
}
