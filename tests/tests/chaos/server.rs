//! The API server dies, hangs, and forgets everything: what it said last goes on, and it is believed again when it is back.

use crate::scene::{Scene, crowd, web, web_service};
use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::ApiServer;
use mesh_tests::expect::{tcp_reaches, tcp_refused};
use mesh_tests::wait::{wait_for, wait_for_within};
use nix::sys::signal::{Signal, kill};
use std::env;
use std::thread;
use std::time::{Duration, Instant};

/// Services beside the one under load.
const CROWD: usize = 40;

/// How long a paused API server says nothing: so many seconds. A minute, by hand; in CI nothing is shown by waiting longer
/// than this, because nobody but the agent's own timeouts could notice.
const PAUSE: (&str, u64) = ("MESH_CHAOS_PAUSE_SECONDS", 10);

/// How long the agent may take to find its way back: its longest backoff is 30 s.
const COMEBACK: Duration = Duration::from_secs(90);

/// `web` and a crowd in an API server, and an agent that follows it.
fn followed() -> Result<(Scene, ApiServer)> {
    let scene = Scene::new()?;
    let api = ApiServer::beside(&scene.world)?;
    fill(&scene, &api, 0)?;
    scene.world.agent().follow(api.kubeconfig());
    scene.world.agent().start()?;
    Ok((scene, api))
}

fn fill(scene: &Scene, api: &ApiServer, round: usize) -> Result<()> {
    api.apply(&format!("{}\n---\n{}{}", web_service(), scene.endpoints(round), crowd(CROWD, round)?))
}

/// A change in the API server takes effect on clients, however long the agent takes to come back to it.
fn follows(scene: &Scene, api: &ApiServer, round: usize) -> Result<()> {
    fill(scene, api, round)?;
    let client = scene.world.client(&format!("client-{round}"))?;
    let servers = &["web-1", "web-2", "web-3"][..3 - round % 2];
    wait_for_within(COMEBACK, "the change to take effect", || tcp_reaches(&client, web(), servers))
}

#[test]
fn the_api_server_is_killed_and_started_again() -> Result<()> {
    let (scene, api) = followed()?;
    let load = scene.load()?;
    for round in 1..=3 {
        api.server().kill()?;
        load.goes_on(200)?;
        if round == 2 {
            // Nor does an agent that starts meanwhile take anything away.
            scene.world.agent().kill()?;
            scene.world.agent().spawn()?;
            load.goes_on(200)?;
        }
        api.server().start()?;
        api.wait_ready()?;
        follows(&scene, &api, round)?;
    }
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn the_api_server_hangs() -> Result<()> {
    let (scene, api) = followed()?;
    let load = scene.load()?;
    let seconds = env::var(PAUSE.0).map_or(Ok(PAUSE.1), |seconds| seconds.parse()).context(PAUSE.0)?;
    api.server().pause()?;
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(seconds) {
        load.goes_on(20)?;
        thread::sleep(Duration::from_millis(100));
    }
    api.server().resume()?;
    api.wait_ready()?;
    follows(&scene, &api, 1)?;
    println!("after {seconds} s of silence");
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn etcd_is_killed_and_started_again_and_compacted() -> Result<()> {
    let (scene, api) = followed()?;
    let load = scene.load()?;
    api.etcd().kill()?;
    load.goes_on(200)?;
    api.etcd().start()?;
    api.wait_ready()?;
    follows(&scene, &api, 1)?;
    api.etcd().compact()?;
    api.restart()?;
    follows(&scene, &api, 2)?;
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn etcd_is_restored_with_other_uids_and_versions() -> Result<()> {
    let (scene, api) = followed()?;
    let agent = scene.world.agent();
    let held = scene.world.client("held")?;
    let connections = held.connect_many(web(), 6)?;
    let load = scene.load()?;
    // The agent looks away as long as there is nothing, so that clients always have a backend.
    kill(agent.id()?, Signal::SIGSTOP)?;
    api.wipe()?;
    fill(&scene, &api, 0)?;
    kill(agent.id()?, Signal::SIGCONT)?;
    load.goes_on(200)?;
    follows(&scene, &api, 1)?;
    load.end()?;
    for connection in &connections {
        connection.server()?;
        ensure!(connection.peer()? == web(), "it shows another peer");
    }
    drop(connections);
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn etcd_is_wiped_and_connections_that_are_open_go_on() -> Result<()> {
    let (scene, api) = followed()?;
    let held = scene.world.client("held")?;
    let connections = held.connect_many(web(), 6)?;
    api.wipe()?;
    // What a complete list does not hold is gone: nothing answers at the Service's address any more.
    wait_for_within(COMEBACK, "the Services to go", || {
        let there = scene.world.agent().service("default", "web").is_ok();
        ensure!(!there, "web is there");
        Ok(())
    })?;
    for connection in &connections {
        connection.server().context("an open connection is not the Service's")?;
    }
    let empty = "{apiVersion: v1, kind: Service, metadata: {name: empty}, \
                 spec: {clusterIP: 10.96.0.99, ports: [{port: 80}]}}";
    api.apply(empty)?;
    tcp_refused(&held, "10.96.0.99:80".parse()?)?;
    follows(&scene, &api, 0)?;
    for connection in &connections {
        connection.server()?;
    }
    drop(connections);
    wait_for("all slots to be given back", || {
        let active = scene.world.agent().service("default", "web")?["active"].clone();
        ensure!(active == 0, "{active}");
        Ok(())
    })?;
    scene.maps_are_a_fresh_agents("fresh")
}
