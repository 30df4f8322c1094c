//! The limit holds whatever becomes of the agent.

use super::{Scene, is_refused, limits};
use anyhow::{Context, Result, ensure};
use mesh_tests::wait::wait_for;

#[test]
fn the_limit_goes_on_without_the_agent_and_the_next_agent_adopts_it() -> Result<()> {
    let scene = Scene::new(Some(3))?;
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
    scene.world.apply(&super::wishes(&serde_json::json!({"maxConnections": 100})))?;
    is_refused(&scene.outsider, at);
    scene.world.agent().start()?;
    scene.wait(scene.backend.v4(), "no limit", serde_json::Value::is_null)?;
    wait_for("the programs to be taken off", || {
        let links: Vec<_> = links(&scene)?;
        ensure!(links.is_empty(), "{links:?}");
        Ok(())
    })?;
    held.extend(scene.outsider.connect_many(at, 3)?);
    ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    Ok(())
}

#[test]
fn unload_takes_the_programs_off_the_interfaces() -> Result<()> {
    let scene = Scene::new(Some(0))?;
    is_refused(&scene.outsider, scene.at());
    ensure!(links(&scene)?.len() == 2, "{:?}", links(&scene)?);
    scene.world.agent().stop()?;
    is_refused(&scene.outsider, scene.at());
    scene.world.agent().unload()?;
    ensure!(scene.outsider.connect(scene.at())?.server()? == "web-1");
    Ok(())
}

/// The pins of the programs at interfaces.
fn links(scene: &Scene) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for layout in std::fs::read_dir(scene.world.agent().pins())? {
        let links = layout?.path().join("links");
        for link in std::fs::read_dir(links)? {
            let name = link?.file_name().to_string_lossy().into_owned();
            found.extend(name.starts_with("tc_").then_some(name));
        }
    }
    Ok(found)
}
