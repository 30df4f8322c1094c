//! Agents that are killed in the midst of their work, and agents that meet.

use crate::scene::{Scene, entries, web, web_service};
use anyhow::{Context, Result, ensure};
use mesh_tests::expect::tcp_reaches;
use mesh_tests::wait::wait_for;

/// Services beside the one under load.
const CROWD: usize = 2_000;

/// Deaths in each test.
const DEATHS: usize = 6;

#[test]
fn killed_in_the_midst_of_its_first_sync_into_empty_maps() -> Result<()> {
    let scene = Scene::new()?;
    scene.world.apply(&web_service())?;
    scene.world.apply(&scene.endpoints(0))?;
    scene.crowd(CROWD, 0)?;
    let agent = scene.world.agent();
    // Each Service of the crowd is a port, a frontend and two backends.
    let all = 4 * CROWD + 5;
    let mut halves = 0;
    for death in 0..DEATHS {
        agent.spawn()?;
        // Each gets further than the one before.
        let written = scene.kill_once(|written| written >= all * (1 + death) / (DEATHS + 2))?;
        halves += usize::from(written < all);
        println!("killed with {written} of {all} entries written");
    }
    ensure!(halves > 0, "no agent was killed before it had written everything");
    agent.start()?;
    tcp_reaches(&scene.world.client("client")?, web(), &["web-1", "web-2", "web-3"])?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn killed_in_the_midst_of_its_first_sync_over_maps_that_serve() -> Result<()> {
    let scene = Scene::served(CROWD)?;
    let agent = scene.world.agent();
    let load = scene.load()?;
    for death in 0..DEATHS {
        agent.kill()?;
        // What the next one finds is another cluster: half of the crowd is gone, or comes, and all of it has moved.
        scene.crowd(if death % 2 == 0 { CROWD / 2 } else { CROWD }, 7 * (1 + death))?;
        scene.world.apply(&scene.endpoints(death))?;
        let before = entries(agent)?;
        agent.spawn()?;
        let written = scene.kill_once(|written| written != before)?;
        println!("killed with {written} entries, which were {before}");
        load.goes_on(50)?;
        agent.start()?;
        load.goes_on(50)?;
    }
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn killed_in_the_midst_of_a_burst() -> Result<()> {
    let scene = Scene::served(CROWD / 4)?;
    let agent = scene.world.agent();
    let load = scene.load()?;
    for death in 1..=DEATHS {
        for burst in 0..5 {
            scene.crowd(CROWD / 4 + 20 * burst, 3 * death + burst)?;
            scene.world.apply(&scene.endpoints(death + burst))?;
        }
        // At another moment of the burst each time.
        load.goes_on(1 + (death as u64) * 7919 % 90)?;
        agent.kill()?;
        load.goes_on(50)?;
        agent.spawn()?;
    }
    agent.wait_ready()?;
    load.goes_on(100)?;
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}

#[test]
fn of_two_that_start_at_once_one_serves_and_the_other_says_why_not() -> Result<()> {
    let scene = Scene::served(50)?;
    let first = scene.world.agent();
    let rival = first.another("rival");
    let load = scene.load()?;
    for round in 0..3 {
        first.kill()?;
        first.spawn()?;
        rival.spawn()?;
        let (winner, loser) = wait_for("one of both to give way", || match (first.is_running(), rival.is_running()) {
            (true, false) => Ok((first, &rival)),
            (false, true) => Ok((&rival, first)),
            both => Err(format!("running: {both:?}")),
        })?;
        winner.wait_ready()?;
        let status = loser.wait_ended()?;
        ensure!(status.code() == Some(1), "{status}");
        let said = loser.log();
        ensure!(said.contains("another agent"), "the one that gave way said: {said}");
        scene.world.apply(&scene.endpoints(round))?;
        load.goes_on(100)?;
        winner.kill()?;
        first.start().context("afterwards there is one as before")?;
    }
    load.end()?;
    scene.maps_are_a_fresh_agents("fresh")
}
