//! The agent's deaths, and full maps: 28 and 29.

use anyhow::{Context, Result, ensure};
use mesh_tests::client::{Client, Connection};
use mesh_tests::echo::{Listen, Transport};
use mesh_tests::expect::{counts, logged, open, refusals, refused, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{limits, service, slice};
use mesh_tests::object::ObjectName;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use nix::libc::ECONNREFUSED;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn web() -> SocketAddr {
    at("10.96.0.10:80")
}

/// A Service `web` with two pods, the agent and a client.
fn two_pods() -> Result<(World, [Pod; 2], Client)> {
    let world = World::new()?;
    let pods = [world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?];
    world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).udp(53, 53).yaml())?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoints(&pods).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    Ok((world, pods, client))
}

#[test]
fn s28_without_an_agent_old_connections_go_on_and_new_ones_are_balanced() -> Result<()> {
    let (world, _pods, client) = two_pods()?;
    world.apply(&service("empty").cluster_ip("10.96.0.11").tcp(80, 8080).yaml())?;
    world.apply(&limits("web", Some(10), None))?;
    tcp_refused(&client, at("10.96.0.11:80"))?;
    wait_for("the limit", || {
        let limit = &world.agent().service("default", "web")?["maxConnections"];
        ensure!(limit == 10, "{limit}");
        Ok(())
    })?;
    let held = client.connect_many(web(), 8)?;
    let servers: Vec<_> = held.iter().map(Connection::server).collect::<Result<_, _>>()?;

    world.agent().kill()?;
    for (one, server) in held.iter().zip(&servers) {
        assert_eq!(&one.server()?, server);
        assert_eq!(one.peer()?, web());
    }
    tcp_reaches(&client, web(), &["web-1", "web-2"])?;
    udp_reaches(&client, at("10.96.0.10:53"), &["web-1", "web-2"])?;
    tcp_refused(&client, at("10.96.0.11:80"))?;
    tcp_refused(&client, at("10.96.0.10:81"))?;
    // The limit is the kernel's.
    let _two_more = client.connect_many(web(), 2)?;
    let error = client.connect(web()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ECONNREFUSED));
    Ok(())
}

#[test]
fn s28_the_next_agent_adopts_counts_and_ids() -> Result<()> {
    let (world, _pods, client) = two_pods()?;
    let mut held = client.connect_many(web(), 20)?;
    let before = open(world.agent(), "web")?;
    assert_eq!((before.service, before.connections, before.backends.len()), (20, 20, 2), "{before:?}");
    let opened = |world: &World| -> Result<u64> {
        world.agent().service("default", "web")?["opened"].as_u64().context("`opened` is a number")
    };
    let opened_before = opened(&world)?;

    world.agent().restart()?;
    // What a Service counted is kept under its id: a Service with a new one would begin at zero.
    assert_eq!(opened(&world)?, opened_before);
    assert_eq!(open(world.agent(), "web")?, before);
    tcp_reaches(&client, web(), &["web-1", "web-2"])?;

    // Some end while there is no agent.
    world.agent().kill()?;
    held.drain(..15).try_for_each(Connection::close)?;
    world.agent().start()?;
    let of = |name: &str| held.iter().filter(|one| one.server().is_ok_and(|server| server == name)).count() as u64;
    counts(world.agent(), "web", &[("web-1", of("web-1")), ("web-2", of("web-2"))])?;
    drop(held);
    counts(world.agent(), "web", &[])
}

#[test]
fn s28_the_next_agent_makes_what_changed_meanwhile_true() -> Result<()> {
    let (world, pods, client) = two_pods()?;
    world.apply(&service("old").cluster_ip("10.96.0.11").tcp(80, 8080).yaml())?;
    world.apply(&slice("old").tcp(8080).endpoint(&pods[0]).yaml())?;
    tcp_reaches(&client, at("10.96.0.11:80"), &["web-1"])?;
    let held = client.connect(at("10.96.0.11:80"))?;

    world.agent().kill()?;
    world.manifests().delete(&ObjectName::new("Service", "old"))?;
    world.apply(&service("new").cluster_ip("10.96.0.12").tcp(80, 8080).yaml())?;
    world.apply(&slice("new").tcp(8080).endpoint(&pods[1]).yaml())?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pods[1]).yaml())?;
    world.agent().start()?;
    tcp_reaches(&client, web(), &["web-2"])?;
    tcp_reaches(&client, at("10.96.0.12:80"), &["web-2"])?;
    assert_ne!(client.connect(at("10.96.0.11:80")).unwrap_err().raw_os_error(), Some(ECONNREFUSED), "left alone");
    assert_eq!(held.server()?, "web-1");
    Ok(())
}

/// The directory of the one layout that is pinned.
fn layout(world: &World) -> Result<PathBuf> {
    let entries = fs::read_dir(world.agent().pins())?.flatten().map(|entry| entry.path());
    let mut layouts: Vec<_> = entries.filter(|path| path.join("maps").is_dir()).collect();
    ensure!(layouts.len() == 1, "{layouts:?}");
    layouts.pop().context("one")
}

#[test]
fn s28_an_upgrade_to_another_map_layout_drops_nothing() -> Result<()> {
    let (world, _pods, client) = two_pods()?;
    let held = client.connect_many(web(), 6)?;
    let datagrams = client.connect_udp(at("10.96.0.10:53"))?;
    let server = datagrams.ask("who")?.server;
    let loaded = world.pod("load")?;
    let storm = Storm::start(&loaded, 2, &Plan::to(web()).hold(4))?;
    storm.wait_connected(200)?;

    // What an agent of another layout left, as this one finds it.
    world.agent().kill()?;
    let old = world.agent().pins().join("v0");
    fs::rename(layout(&world)?, &old).context("rename the pins")?;
    world.agent().start()?;
    storm.wait_connected(200)?;
    storm.stop();
    let count = storm.finish()?;
    assert_eq!((count.failed, count.refused, count.open), (0, 0, 0), "{count:?}");

    // Those that were open go on, and still show the frontend.
    for one in &held {
        one.server()?;
        assert_eq!(one.peer()?, web());
    }
    assert_eq!(datagrams.ask("who")?.server, server);
    assert_eq!(datagrams.peer()?, at("10.96.0.10:53"));
    tcp_reaches(&client, web(), &["web-1", "web-2"])?;
    let new = client.connect(web())?;
    counts(world.agent(), "web", &[(&new.server()?, 1)])?;
    assert!(old.is_dir(), "the former layout stays while connections need it");
    // With the last of them it goes.
    drop((held, datagrams));
    wait_for("the former layout to go", || if old.exists() { Err("it is there") } else { Ok(()) })?;
    counts(world.agent(), "web", &[(&new.server()?, 1)])
}

/// One Service of a port and a pod too many for a map of this size: the last does not fit.
fn overfill(flag: &str, size: &str, map: &str) -> Result<()> {
    let world = World::new()?;
    let pods = [world.backend("pod-1", &PORTS)?, world.backend("pod-2", &PORTS)?, world.backend("pod-3", &PORTS)?];
    let put = |number: usize| -> Result<()> {
        let name = format!("web-{number}");
        world.apply(&slice(&name).tcp(8080).endpoint(&pods[number - 1]).yaml())?;
        world.apply(&service(&name).cluster_ip(&format!("10.96.0.{number}")).tcp(80, 8080).yaml())
    };
    put(1)?;
    put(2)?;
    world.agent().spawn_with(&[flag, size])?;
    world.agent().wait_ready()?;
    let client = world.client("client")?;
    let works = || -> Result<()> {
        tcp_reaches(&client, at("10.96.0.1:80"), &["pod-1"])?;
        tcp_reaches(&client, at("10.96.0.2:80"), &["pod-2"])
    };
    works()?;
    let held = client.connect(at("10.96.0.1:80"))?;

    put(3)?;
    wait_for("status to name what does not fit", || {
        let status = world.agent().status()?;
        let said = status["waiting"].to_string();
        ensure!(said.contains("web-3") && said.contains(map) && said.contains(flag), "{status}");
        ensure!(status["health"] == "degraded", "{status}");
        Ok(())
    })
    .with_context(|| flag.to_owned())?;
    works()?;
    assert_eq!(held.server()?, "pod-1");
    // Whether it is refused or left alone, it is not half there.
    assert!(client.connect(at("10.96.0.3:80")).is_err());
    logged(world.agent(), &format!("default/web-3: {map}"))?;

    // Room is made: it is served without further ado.
    world.manifests().delete(&ObjectName::new("Service", "web-2"))?;
    tcp_reaches(&client, at("10.96.0.3:80"), &["pod-3"])?;
    tcp_reaches(&client, at("10.96.0.1:80"), &["pod-1"])?;
    assert_eq!(held.server()?, "pod-1");
    wait_for("status to be well again", || {
        let status = world.agent().status()?;
        ensure!(status["health"] == "ok", "{status}");
        Ok(())
    })
}

#[test]
fn s29_full_frontends_refuse_the_new_service_alone() -> Result<()> {
    overfill("--max-frontends", "2", "FRONTENDS")
}

#[test]
fn s29_full_services_refuse_the_new_service_alone() -> Result<()> {
    // Entry 0 is nobody's.
    overfill("--max-services", "3", "SERVICES")
}

#[test]
fn s29_full_backends_refuse_the_new_endpoint_alone() -> Result<()> {
    overfill("--max-backends", "3", "BACKENDS")
}

#[test]
fn s29_full_slots_refuse_the_new_service_alone() -> Result<()> {
    overfill("--max-slots", "2", "SLOTS")
}

#[test]
fn s29_a_full_table_of_connections_refuses_and_forgets_nobody() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("web-1", &PORTS)?;
    world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).udp(53, 53).yaml())?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pod).yaml())?;
    world.agent().spawn_with(&["--max-connections", "8"])?;
    world.agent().wait_ready()?;
    let client = world.client("client")?;
    let mut held = client.connect_many(web(), 8)?;
    refused(&client, Transport::Tcp, web())?;
    refused(&client, Transport::Udp, at("10.96.0.10:53"))?;
    assert_eq!(refusals(world.agent(), "table-full")?, 42);
    // Nobody was evicted, and nothing of the refused is counted.
    counts(world.agent(), "web", &[("web-1", 8)])?;
    held.iter().try_for_each(|one| one.server().map(drop))?;
    // Datagrams without a connection need no entry.
    assert_eq!(client.udp()?.ask_at(at("10.96.0.10:53"), "who")?.0.server, "web-1");
    held.pop().context("one of eight")?.close()?;
    let _again = client.connect(web())?;
    counts(world.agent(), "web", &[("web-1", 8)])
}
