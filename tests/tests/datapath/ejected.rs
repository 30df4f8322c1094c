//! How many backends are ejected is recounted: what is off is set right, and what is right stays.

use super::outlier::{Scene, ejected};
use super::tcp;
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::{wait_for, wait_for_within};
use mesh_tests::world::Agent;
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::{KernelMaps, Maps};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// As long as a few recounts take.
const RECOUNTS: Duration = Duration::from_mins(1);

fn audit(agent: &Agent) -> Result<Value> {
    Ok(agent.status()?["audit"].take())
}

/// Ejections of `web` so far.
fn ejections(agent: &Agent) -> Result<u64> {
    agent.ask(&["service", "show", "web"])?["reasons"]["ejected"].as_u64().context("a number")
}

#[test]
fn a_count_of_ejected_backends_that_is_off_is_set_right_under_load() -> Result<()> {
    // Of five, two may be out.
    let detection = json!({"consecutiveFailures": 3, "baseEjectionSeconds": 600, "maxEjectionPercent": 40});
    let scene = Scene::with(4, &detection)?;
    let agent = scene.agent();
    scene.visit_until_ejected()?;
    let storm = Storm::start(&scene.world.pod("storm")?, 2, &Plan::to(tcp()).hold(4))?;
    storm.wait_connected(200)?;
    let maps = KernelMaps::new(descriptors(&Pins::new(agent.pins()))?)?;
    let outliers = maps.arrays().outliers;
    let outlier = outliers.iter().find(|entry| entry.ejected.load() == 1).context("one is ejected")?;
    // As an agent leaves it that is killed after it has unmarked a backend: nothing more can be ejected.
    outlier.ejected.fetch_add(1);
    wait_for_within(RECOUNTS, "the count to be set right", || {
        ensure!(outlier.ejected.load() == 1, "{}", outlier.ejected.load());
        Ok(())
    })?;
    wait_for("the repair to be told", || {
        let audit = audit(agent)?;
        ensure!(audit["repaired"] == 1 && audit["drifted"] == 0, "{audit}");
        Ok(())
    })?;
    ensure!(agent.log().contains("Ejected(") && agent.log().contains("is_repaired=true"), "{}", agent.log());
    // There is a place again: of a second that fails, too.
    scene.pods[0].cgroup().kill()?;
    wait_for("the second to be out", || {
        scene.visit(50)?;
        ensure!(ejected(agent)? == 2 && outlier.ejected.load() == 2);
        Ok(())
    })?;
    storm.stop();
    storm.finish().map(drop)
}

#[test]
fn a_count_of_ejected_backends_that_is_right_stays_while_they_come_and_go_under_load() -> Result<()> {
    let detection = json!({"consecutiveFailures": 1, "baseEjectionSeconds": 1, "maxEjectionSeconds": 1});
    let scene = Scene::with(3, &detection)?;
    let agent = scene.agent();
    let storm = Storm::start(&scene.world.pod("storm")?, 4, &Plan::to(tcp()).hold(4))?;
    storm.wait_connected(200)?;
    let mut recounts = BTreeSet::new();
    wait_for_within(RECOUNTS, "four recounts", || {
        let audit = audit(agent)?;
        ensure!(audit["repaired"] == 0 && audit["drifted"] == 0, "{audit}");
        recounts.insert(audit["at"].to_string());
        ensure!(recounts.len() > 4, "{recounts:?}");
        Ok(())
    })?;
    let ejections = ejections(agent)?;
    ensure!(ejections > 5, "{ejections} ejections");
    storm.stop();
    storm.finish()?;
    // Healed, none is out for long, and none is counted.
    let _server = scene.bad.serve(&[Listen::tcp(8080)])?;
    let maps = KernelMaps::new(descriptors(&Pins::new(agent.pins()))?)?;
    wait_for("none to be counted", || {
        let counted: u64 = maps.arrays().outliers.iter().map(|entry| entry.ejected.load()).sum();
        ensure!(counted == 0, "{counted}");
        Ok(())
    })?;
    let audit = audit(agent)?;
    ensure!(audit["repaired"] == 0 && audit["drifted"] == 0, "{audit}");
    Ok(())
}
