//! A full disk: the agent's log cannot be written, its socket cannot be made, and connections do not notice.

use crate::scene::{Scene, web};
use anyhow::{Context, Result, ensure};
use mesh_tests::expect::tcp_reaches;
use mesh_tests::wait::wait_for;
use std::fs;
use std::io::ErrorKind;

#[test]
fn a_log_that_cannot_be_written_ends_nothing() -> Result<()> {
    let scene = Scene::served(20)?;
    scene.world.agent().kill()?;
    // Every write fails with ENOSPC.
    let agent = scene.world.agent().another("unheard").logging("/dev/full".into());
    let load = scene.load()?;
    agent.start()?;
    for round in 0..4 {
        // Something to complain of, and something to do.
        scene.world.manifests().write("broken.yaml", &format!("kind: [{round}\n"))?;
        scene.world.apply(&scene.endpoints(round))?;
        load.goes_on(50)?;
        scene.world.manifests().remove("broken.yaml")?;
    }
    let client = scene.world.client("client")?;
    scene.world.apply(&scene.endpoints(1))?;
    tcp_reaches(&client, web(), &["web-1", "web-2"])?;
    ensure!(agent.is_running(), "it ended");
    agent.stop()?;
    load.end()?;
    scene.world.agent().start()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn a_socket_that_cannot_be_made_is_made_once_there_is_room() -> Result<()> {
    let scene = Scene::served(20)?;
    scene.world.agent().kill()?;
    let disk = scene.world.small_disk("run", "size=64k,nr_inodes=3")?;
    let ballast = [disk.join("one"), disk.join("two")];
    for file in &ballast {
        fs::write(file, "").context("fill the disk")?;
    }
    let full = fs::write(disk.join("three"), "").map_err(|error| error.kind());
    ensure!(full == Err(ErrorKind::StorageFull), "{full:?}");

    let agent = scene.world.agent().another("cramped").answering(disk.join("mesh.sock"));
    let load = scene.load()?;
    agent.spawn()?;
    // It serves, and follows changes, though nobody can ask it anything.
    let client = scene.world.client("client")?;
    for round in [1, 0] {
        scene.world.apply(&scene.endpoints(round))?;
        let served = ["web-1", "web-2", "web-3"];
        tcp_reaches(&client, web(), &served[..3 - round])?;
    }
    ensure!(agent.status().is_err(), "there is a socket");
    wait_for("it to say so", || if agent.log().contains("no socket yet") { Ok(()) } else { Err(agent.log()) })?;

    fs::remove_file(&ballast[0]).context("make room")?;
    agent.wait_ready()?;
    agent.stop()?;
    load.end()?;
    scene.world.agent().start()?;
    scene.maps_are_a_fresh_agents("fresh")
}
