//! A Service under load, many others that change, and the question that ends each test.

use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{service, slice};
use mesh_tests::meaning::Meaning;
use mesh_tests::storm::{Count, Plan, Storm};
use mesh_tests::wait::{PATIENCE, wait_for};
use mesh_tests::world::{Agent, Pod, World};
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::{KernelMaps, Maps};
use std::fmt::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Backends of the Service under load; the first two serve throughout.
const BACKENDS: usize = 3;

/// A world with three backends of the Service `web`.
pub struct Scene {
    pub world: World,
    pub backends: Vec<Pod>,
}

/// What clients of `web` dial.
pub fn web() -> SocketAddr {
    "10.96.0.10:80".parse().expect("an address with a port")
}

/// The Service `web`.
pub fn web_service() -> String {
    service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml()
}

/// Services that nobody dials, each with two endpoints that nobody is at: `round` says which.
pub fn crowd(count: usize, round: usize) -> Result<String> {
    let mut text = String::new();
    for number in 0..count {
        let name = format!("crowd-{number}");
        let address = format!("10.96.{}.{}", 1 + number / 250, 1 + number % 250);
        let endpoint = |side: usize| {
            let host = (2 * number + side + round) % 60_000;
            format!("{{\"addresses\":[\"10.250.{}.{}\"]}}", host / 250, 1 + host % 250)
        };
        let endpoints = format!("\"endpoints\":[{},{}]", endpoint(0), endpoint(1));
        let slice = slice(&name).tcp(8080).yaml();
        let without = "\"endpoints\":[]";
        ensure!(slice.contains(without), "{slice}");
        let service = service(&name).cluster_ip(&address).tcp(80, 8080).yaml();
        writeln!(text, "---\n{service}\n---\n{}", slice.replace(without, &endpoints))?;
    }
    Ok(text)
}

impl Scene {
    pub fn new() -> Result<Self> {
        let world = World::new()?;
        let backends = (1..=BACKENDS).map(|n| world.backend(&format!("web-{n}"), &[Listen::tcp(8080)]));
        let backends = backends.collect::<Result<_>>()?;
        Ok(Self { world, backends })
    }

    /// With `web` and a crowd in the manifests, and an agent that serves them.
    pub fn served(crowd_size: usize) -> Result<Self> {
        let scene = Self::new()?;
        scene.world.apply(&web_service())?;
        scene.world.apply(&scene.endpoints(0))?;
        scene.crowd(crowd_size, 0)?;
        scene.world.agent().start()?;
        Ok(scene)
    }

    /// The crowd in one file, so that one rename changes all of it.
    pub fn crowd(&self, size: usize, round: usize) -> Result<()> {
        self.world.manifests().write("crowd.yaml", &crowd(size, round)?)
    }

    /// The endpoints of `web`: all, or those that always serve.
    pub fn endpoints(&self, round: usize) -> String {
        slice("web").tcp(8080).endpoints(&self.backends[..BACKENDS - round % 2]).yaml()
    }

    /// Clients that connect to `web` all the time.
    pub fn load(&self) -> Result<Load> {
        let storm = Storm::start(&self.world.pod("load")?, 2, &Plan::to(web()).hold(4))?;
        storm.wait_connected(100)?;
        Ok(Load(storm))
    }

    /// Kills the agent once so many entries more or less than before are in its maps; returns how many are there then.
    pub fn kill_once(&self, is_time: impl Fn(usize) -> bool) -> Result<usize> {
        let agent = self.world.agent();
        let started = Instant::now();
        loop {
            let written = entries(agent);
            if written.as_ref().is_ok_and(|&written| is_time(written)) {
                agent.kill()?;
                return entries(agent);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{written:?} entries after {} s: {}",
                PATIENCE.as_secs(),
                agent.log()
            );
            // Not longer: a first sync takes milliseconds.
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits until the agent's maps mean the same as those of a new agent that has seen nothing of what was before.
    pub fn maps_are_a_fresh_agents(&self, name: &str) -> Result<()> {
        let fresh = self.world.fresh_agent(name)?;
        fresh.start()?;
        let expected = wait_for("the fresh agent's maps to be still", || still(&fresh))?;
        ensure!(expected.len() > 5, "{expected}");
        wait_for("the maps to equal a fresh agent's", || still(self.world.agent())?.equals(&expected))?;
        let log = self.world.agent().log();
        for mended in ["is_repaired=true", "ended unseen"] {
            ensure!(!log.contains(mended), "counts were off, and had to be set right: {log}");
        }
        fresh.stop().map(drop)
    }
}

/// Entries of backends, ports and frontends that are in use in the agent's maps.
pub fn entries(agent: &Agent) -> Result<usize> {
    let maps = KernelMaps::new(descriptors(&Pins::new(agent.pins()))?)?;
    let arrays = maps.arrays();
    let services = arrays.services.iter().filter(|entry| entry.rule.load() != 0).count();
    let backends = arrays.backends.iter().filter(|entry| entry.tag.load() != 0).count();
    Ok(services + backends + maps.frontends()?.len())
}

/// What the maps mean, read twice with the same result.
fn still(agent: &Agent) -> Result<Meaning> {
    let [first, second] = [Meaning::of_pins(agent.pins())?, Meaning::of_pins(agent.pins())?];
    ensure!(first == second, "they are changing");
    Ok(second)
}

/// Load on `web`.
pub struct Load(Storm);

impl Load {
    /// Waits until clients have got through so many times since now.
    pub fn goes_on(&self, connections: u64) -> Result<()> {
        self.0.wait_connected(connections).context("clients get through no more")?;
        healthy(&self.0.count())
    }

    /// Ends it; no connection may have failed.
    pub fn end(self) -> Result<Count> {
        self.0.stop();
        let count = self.0.finish()?;
        healthy(&count)?;
        println!("{} connections under load, 0 failed, 0 refused", count.connected);
        Ok(count)
    }
}

fn healthy(count: &Count) -> Result<()> {
    ensure!(count.failed == 0 && count.refused == 0, "connections to healthy backends failed: {count:?}");
    Ok(())
}
