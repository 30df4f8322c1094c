//! Never N+1, and nothing left, in a storm.

use super::{OTHER, PORT, Scene, is_refused};
use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::wait_for;
use nix::libc::ECONNRESET;
use std::thread;

#[test]
fn in_a_storm_there_are_never_more_than_n_and_at_its_end_none_is_counted() -> Result<()> {
    const LIMIT: u64 = 20;
    let scene = Scene::new(Some(LIMIT))?;
    let pods = [scene.world.outsider("storm-1")?, scene.world.pod("storm-2")?];
    let plan = Plan::to(scene.at()).hold(5).connects(1_250);
    let storms: Vec<Storm> = pods.iter().map(|pod| Storm::start(pod, 4, &plan)).collect::<Result<_>>()?;
    for (number, storm) in storms.iter().enumerate() {
        wait_for("the storm to rise", || {
            let count = storm.count();
            ensure!(count.connected > 200, "{count:?}");
            Ok(())
        })?;
        storm.kill(number)?;
    }
    let mut most = 0;
    let over =
        || storms.iter().map(Storm::count).all(|count| count.connected + count.refused + count.failed >= 3 * 1_250);
    wait_for("the storms to end", || {
        // The programs' own count, at any moment.
        most = most.max(scene.inbound(scene.backend.v4())?["active"].as_u64().unwrap_or(u64::MAX));
        ensure!(over(), "{:?}", storms.iter().map(Storm::count).collect::<Vec<_>>());
        Ok(())
    })?;
    ensure!(most <= LIMIT, "{most} were counted");
    let (mut connected, mut refused, mut failed) = (0, 0, 0);
    for storm in storms {
        let count = storm.finish()?;
        // Where another took the last slot between its SYN and the end of its handshake, the client hears of it at once or later.
        ensure!(count.failed == 0 || count.errno == u64::from(ECONNRESET.unsigned_abs()), "{count:?}");
        failed += count.failed;
        connected += count.connected;
        refused += count.refused;
    }
    scene.counts(0)?;
    let inbound = scene.inbound(scene.backend.v4())?;
    println!("{connected} connected, {refused} refused, at most {most} counted: {inbound}");
    ensure!(inbound["reset"].as_u64().is_some_and(|reset| failed <= reset), "{failed} reset");
    ensure!(connected > 1_000 && refused > 0, "{connected} connected, {refused} refused");
    scene.is_exact()
}

#[test]
fn the_server_counts_n_when_all_come_at_once() -> Result<()> {
    const LIMIT: u64 = 25;
    let scene = Scene::new(Some(LIMIT))?;
    let names = ["one", "two", "three", "four"];
    let clients = names.map(|name| scene.world.outsider(name).and_then(|pod| pod.client()));
    let clients: Vec<_> = clients.into_iter().collect::<Result<_>>()?;
    let held: Vec<_> = thread::scope(|scope| {
        let dial = |client: &Client| (0..20).filter_map(|_| client.connect(scene.at()).ok()).collect::<Vec<_>>();
        let threads: Vec<_> = clients.iter().map(|client| scope.spawn(move || dial(client))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let served = held.iter().filter(|connection| connection.server().is_ok()).count();
    ensure!(served as u64 == LIMIT, "{served} of {} are served", held.len());
    scene.counts(LIMIT)?;
    is_refused(&scene.outsider, scene.backend.at(PORT));
    // By its other port, which has no limit; this connection is one, too.
    ensure!(scene.outsider.connect(scene.backend.at(OTHER))?.server_open()? == LIMIT + 1);
    drop(held);
    scene.counts(0)
}

#[test]
fn kills_of_clients_agents_and_the_backend_in_a_storm_leave_nothing_counted() -> Result<()> {
    kills(&Scene::new(Some(12))?, 12)
}

/// With this limit.
pub(super) fn kills(scene: &Scene, limit: u64) -> Result<()> {
    let storm = Storm::start(&scene.world.outsider("storm")?, 6, &Plan::to(scene.at()).hold(4))?;
    for number in 0..3 {
        storm.wait_connected(300)?;
        scene.world.agent().kill()?;
        storm.kill(number)?;
        storm.wait_connected(300)?;
        scene.world.agent().start()?;
        scene.in_force(limit)?;
        storm.wait_connected(300)?;
        scene.backend.cgroup().kill()?;
        scene.backend.serve(&[Listen::tcp(PORT), Listen::tcp(OTHER)])?;
        let active = scene.inbound(scene.backend.v4())?["active"].as_u64();
        ensure!(active.is_some_and(|active| active <= limit), "{active:?} are counted");
    }
    storm.stop();
    let count = storm.finish()?;
    scene.counts(0)?;
    scene.is_exact()?;
    println!("{count:?}: {}", scene.inbound(scene.backend.v4())?);
    ensure!(count.failed == 0 || count.errno == u64::from(ECONNRESET.unsigned_abs()), "{count:?}");
    Ok(())
}
