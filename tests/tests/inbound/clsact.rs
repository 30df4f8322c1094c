//! The same by filters of a clsact qdisc, as on kernels without TCX, beside those of others.

use super::{Scene, is_refused, limit, limits, lives, storm, wishes};
use anyhow::{Context, Result, ensure};
use mesh_tests::programs;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const BY_FILTERS: [&str; 2] = ["--tc-attach", "clsact"];

fn scene(limit: Option<u64>) -> Result<Scene> {
    let world = World::new()?;
    world.agent().always(&BY_FILTERS);
    let scene = Scene::of(world, limit)?;
    ensure!(limit.is_none() || scene.world.agent().status()?["inbound"]["attachedBy"] == "clsact");
    Ok(scene)
}

/// What is at the node's ends of pods' interfaces, seen and changed by `tc`.
pub struct Filters<'a> {
    node: &'a Pod,
    interfaces: Vec<String>,
}

impl<'a> Filters<'a> {
    pub fn of(scene: &'a Scene) -> Result<Self> {
        let node = &scene.node;
        let links: Value = serde_json::from_str(&node.run("ip", &["-j", "link", "show", "type", "veth"])?)?;
        let names = links.as_array().context("a list")?.iter().filter_map(|link| link["ifname"].as_str());
        let interfaces = names.filter(|name| name.starts_with("pod")).map(str::to_owned).collect();
        Ok(Self { node, interfaces })
    }

    /// Runs `tc <verb> dev <interface> <rest>` for each interface.
    fn tc(&self, verb: &[&str], rest: &[&str]) -> Result<Vec<String>> {
        let one = |interface: &String| self.node.run("tc", &[verb, &["dev", interface], rest].concat());
        self.interfaces.iter().map(one).collect()
    }

    /// All filters: the name of a program's, the kind of another.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for direction in ["ingress", "egress"] {
            for list in self.tc(&["-j", "filter", "show"], &[direction])? {
                let list: Value = serde_json::from_str(&list)?;
                let filters = list.as_array().context("a list")?.iter().filter(|filter| !filter["options"].is_null());
                let name = |filter: &Value| {
                    filter["options"]["bpf_name"].as_str().or(filter["kind"].as_str()).map(str::to_owned)
                };
                found.extend(filters.filter_map(name));
            }
        }
        Ok(found)
    }

    /// At how many interfaces there is a clsact qdisc.
    fn qdiscs(&self) -> Result<usize> {
        Ok(self.tc(&["qdisc", "show"], &["clsact"])?.iter().filter(|list| list.contains("clsact")).count())
    }
}

#[test]
fn n_get_through_from_whomever_and_the_next_is_refused_at_its_syn() -> Result<()> {
    limit::n_get_through(&scene(Some(3))?)
}

#[test]
fn the_limit_goes_on_without_the_agent_and_the_next_agent_adopts_it() -> Result<()> {
    let scene = scene(Some(3))?;
    lives::goes_on(&scene)?;
    ensure!(Filters::of(&scene)?.qdiscs()? == 0, "the qdisc was the agent's");
    Ok(())
}

#[test]
fn unload_takes_the_filters_and_their_qdisc_off_the_interfaces() -> Result<()> {
    let scene = scene(Some(0))?;
    lives::unloaded(&scene)?;
    ensure!(Filters::of(&scene)?.qdiscs()? == 0);
    Ok(())
}

#[test]
fn unload_finds_the_filters_also_when_somebody_has_removed_the_pins() -> Result<()> {
    let scene = scene(Some(0))?;
    let agent = scene.world.agent();
    agent.stop()?;
    fs::remove_dir_all(agent.pins())?;
    is_refused(&scene.outsider, scene.at());
    agent.unload()?;
    ensure!(Filters::of(&scene)?.names()?.is_empty() && Filters::of(&scene)?.qdiscs()? == 0);
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1");
    Ok(())
}

#[test]
fn filters_that_unload_does_not_see_let_everything_through() -> Result<()> {
    let scene = scene(Some(0))?;
    let agent = scene.world.agent();
    agent.stop()?;
    is_refused(&scene.outsider, scene.at());
    // In this process' network namespace, which is not the node's.
    let mut unload = Command::new(programs::find("mesh")?);
    unload.arg("unload").arg("--cgroup").arg(scene.world.cgroup()).arg("--pins").arg(agent.pins());
    let output = unload.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!Filters::of(&scene)?.names()?.is_empty());
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1");
    Ok(())
}

#[test]
fn kills_of_clients_agents_and_the_backend_in_a_storm_leave_nothing_counted() -> Result<()> {
    storm::kills(&scene(Some(12))?, 12)
}

#[test]
fn agents_change_from_one_way_to_the_other_in_a_storm_and_none_gets_past() -> Result<()> {
    const LIMIT: u64 = 10;
    let scene = scene(Some(LIMIT))?;
    let agent = scene.world.agent();
    let storm = Storm::start(&scene.world.outsider("storm")?, 4, &Plan::to(scene.at()).hold(4))?;
    for (way, begins) in [("tcx", "tc_"), ("clsact", "mesh"), ("auto", "tc_"), ("clsact", "mesh")] {
        storm.wait_connected(300)?;
        agent.kill()?;
        storm.wait_connected(300)?;
        agent.always(&["--tc-attach", way]);
        agent.start()?;
        scene.in_force(LIMIT)?;
        let attached = lives::attached(&scene)?;
        ensure!(attached.len() == 2 && attached.iter().all(|name| name.starts_with(begins)), "{way}: {attached:?}");
        let active = scene.inbound(scene.backend.v4())?["active"].as_u64();
        ensure!(active.is_some_and(|active| active <= LIMIT), "{active:?} are counted");
    }
    storm.wait_connected(300)?;
    storm.stop();
    let count = storm.finish()?;
    scene.counts(0)?;
    scene.is_exact()?;
    ensure!(count.refused > 0, "{count:?}");
    Ok(())
}

#[test]
fn the_filters_of_others_stay_and_ours_come_back() -> Result<()> {
    let scene = scene(None)?;
    let node = Filters::of(&scene)?;
    // A qdisc of the CNI's. One filter, of a protocol of its own, comes before ours and passes everything on; one would have ours
    // come after it, as whoever asks for that place, and ends the chain.
    let pass_on = ["ingress", "protocol", "ip", "prio", "1", "bpf", "bytecode", "1,6 0 0 0"];
    let end = ["egress", "protocol", "all", "prio", "1", "handle", "1", "bpf", "bytecode", "1,6 0 0 4294967295"];
    node.tc(&["qdisc", "add"], &["clsact"])?;
    node.tc(&["filter", "add"], &pass_on)?;
    node.tc(&["filter", "add"], &end)?;
    let theirs = node.names()?;
    ensure!(theirs.len() == 2 * node.interfaces.len() && theirs.iter().all(|kind| kind == "bpf"), "{theirs:?}");
    scene.world.apply(&limits(1))?;
    scene.in_force(1)?;
    let held = scene.outsider.connect(scene.at())?;
    is_refused(&scene.outsider, scene.at());
    // Somebody sweeps one direction.
    node.tc(&["filter", "del"], &["egress"])?;
    wait_for("the filter to be back", || {
        let attached = lives::attached(&scene)?;
        ensure!(attached.len() == 2, "{attached:?}");
        Ok(())
    })?;
    is_refused(&scene.outsider, scene.at());
    node.tc(&["filter", "add"], &end)?;
    scene.world.apply(&wishes(&json!({"maxConnections": 100})))?;
    wait_for("ours to go, and theirs alone to stay", || {
        let left = node.names()?;
        ensure!(left == theirs, "{left:?}");
        Ok(())
    })?;
    ensure!(node.qdiscs()? == node.interfaces.len(), "the qdisc was not the agent's");
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1" && held.server()? == "web-1");
    Ok(())
}

#[test]
fn another_qdisc_in_the_place_is_named_and_once_it_is_gone_the_limit_is_in_force() -> Result<()> {
    let scene = scene(None)?;
    let node = Filters::of(&scene)?;
    node.tc(&["qdisc", "add"], &["ingress"])?;
    scene.world.apply(&limits(0))?;
    wait_for("the qdisc to be told of", || {
        let status = scene.world.agent().status()?;
        let told = status.to_string().contains("has a qdisc of kind ingress where clsact would be");
        ensure!(told && status["health"] == "degraded" && status["inbound"]["inForce"] == 0, "{status:#}");
        Ok(())
    })?;
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1");
    node.tc(&["qdisc", "del"], &["ingress"])?;
    scene.in_force(0)?;
    is_refused(&scene.outsider, scene.at());
    Ok(())
}
