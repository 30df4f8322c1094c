//! Limits are exact, whoever asks; and choices follow the Service's algorithm.

use super::{ADDRESSES, Shop, at, tcp, udp};
use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::expect::{counts, refusals};
use mesh_tests::manifest::{limits, policy};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::Agent;
use nix::libc::ECONNREFUSED;
use serde_json::json;
use std::net::SocketAddr;

/// Waits until a limit is in force.
fn in_force(agent: &Agent, field: &str, limit: Option<u64>) -> Result<()> {
    wait_for(&format!("{field} to be {limit:?}"), || {
        let service = agent.service("default", "web")?;
        ensure!(service["state"] == "served" && service[field].as_u64() == limit, "{service}");
        Ok(())
    })
}

fn is_refused(client: &Client, to: SocketAddr) {
    let error = client.connect(to).map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ECONNREFUSED), "{to}: {error}");
}

#[test]
fn max_connections_is_exact_over_all_ports_and_families() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    shop.world.apply(&limits("web", Some(6), None))?;
    in_force(agent, "maxConnections", Some(6))?;
    let mut held = Vec::new();
    for address in ADDRESSES {
        held.push(shop.client.connect(at(&format!("{address}:80")))?);
    }
    let mut datagrams: Vec<_> = (0..3).map(|_| shop.client.connect_udp(udp())).collect::<Result<_, _>>()?;
    let other = shop.world.client("other")?;
    for address in ADDRESSES {
        is_refused(&shop.client, at(&format!("{address}:80")));
        is_refused(&other, at(&format!("{address}:80")));
        let error = other.connect_udp(at(&format!("{address}:53"))).map(drop).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ECONNREFUSED));
    }
    assert_eq!(refusals(agent, "service-limit")?, 9);
    // One goes, one comes, and not two.
    datagrams.pop().context("one of three")?.close()?;
    for _ in 0..10 {
        let one = other.connect(tcp())?;
        is_refused(&shop.client, tcp());
        one.reset()?;
    }
    Ok(())
}

#[test]
fn a_limit_may_be_raised_lowered_and_lifted_while_connections_are_open() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    let mut held = shop.client.connect_many(tcp(), 5)?;
    shop.world.apply(&limits("web", Some(3), None))?;
    in_force(agent, "maxConnections", Some(3))?;
    // Those above the limit go on; what was open before the limit counts.
    held.iter().try_for_each(|one| one.server().map(drop))?;
    is_refused(&shop.client, tcp());
    for _ in 0..3 {
        held.remove(0).reset()?;
    }
    held.push(shop.client.connect(tcp())?);
    is_refused(&shop.client, tcp());
    shop.world.apply(&limits("web", Some(4), None))?;
    in_force(agent, "maxConnections", Some(4))?;
    held.push(shop.client.connect(tcp())?);
    is_refused(&shop.client, tcp());
    shop.world.apply(&limits("web", Some(0), None))?;
    in_force(agent, "maxConnections", Some(0))?;
    drop(held);
    counts(agent, "web", &[])?;
    is_refused(&shop.client, tcp());
    shop.world.manifests().delete(&ObjectName::new("TrafficPolicy", "web-limits"))?;
    in_force(agent, "maxConnections", None)?;
    assert_eq!(shop.client.connect_many(tcp(), 50)?.len(), 50);
    Ok(())
}

#[test]
fn at_one_backends_limit_the_choice_moves_on() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let agent = shop.world.agent();
    shop.world.apply(&limits("web", None, Some(4)))?;
    in_force(agent, "maxConnectionsPerBackend", Some(4))?;
    let mut held = shop.client.connect_many(tcp(), 12)?;
    counts(agent, "web", &[("web-1", 4), ("web-2", 4), ("web-3", 4)])?;
    for address in ADDRESSES {
        // Each port and family of a pod is a backend of its own; this is the one that is full.
        if !address.contains("fd00") {
            is_refused(&shop.client, at(&format!("{address}:80")));
        }
    }
    assert_eq!(refusals(agent, "backend-limit")?, 2);
    let freed = held.remove(5);
    let server = freed.server()?;
    freed.reset()?;
    // There is one place, and the next client finds it.
    let next = shop.client.connect(tcp())?;
    assert_eq!(next.server()?, server);
    is_refused(&shop.client, tcp());
    let shown = agent.ask(&["service", "show", "web"])?;
    ensure!(shown["reasons"]["spilled"].as_u64().is_some_and(|spilled| spilled > 0), "{shown}");
    Ok(())
}

#[test]
fn both_limits_hold_together() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let agent = shop.world.agent();
    shop.world.apply(&limits("web", Some(5), Some(2)))?;
    in_force(agent, "maxConnectionsPerBackend", Some(2))?;
    let held = shop.client.connect_many(tcp(), 5)?;
    is_refused(&shop.client, tcp());
    let open = mesh_tests::expect::open(agent, "web")?;
    assert_eq!(open.service, 5);
    assert!(open.backends.values().all(|&on_one| on_one <= 2), "{open:?}");
    // What the Service's limit refused holds nothing on a backend.
    drop(held);
    counts(agent, "web", &[])?;
    assert_eq!(shop.client.connect_many(tcp(), 5)?.len(), 5);
    Ok(())
}

fn round_robin() -> String {
    policy(("default", "turns"), "web", json!({"loadBalancer": {"algorithm": "RoundRobin"}})).to_string()
}

#[test]
fn round_robin_is_exactly_even_over_all_clients() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let agent = shop.world.agent();
    shop.world.apply(&round_robin())?;
    wait_for("round robin", || {
        let service = agent.service("default", "web")?;
        ensure!(service["algorithm"] == "RoundRobin" && service["state"] == "served", "{service}");
        Ok(())
    })?;
    let tally = shop.client.tally(tcp(), 60)?;
    assert!(tally.answers.len() == 3 && tally.answers.values().all(|&share| share == 20), "{tally:?}");
    // Two clients take turns as one does.
    let other = shop.world.client("other")?;
    let mut both = mesh_tests::client::Tally::default();
    for _ in 0..15 {
        both.add(&shop.client.tally(tcp(), 1)?);
        both.add(&other.tally(tcp(), 1)?);
    }
    assert!(both.answers.len() == 3 && both.answers.values().all(|&share| share == 10), "{both:?}");
    // Without the policy it is random again: 300 connections in exact turns would be a wonder.
    shop.world.manifests().delete(&ObjectName::new("TrafficPolicy", "turns"))?;
    wait_for("random choice", || {
        let service = agent.service("default", "web")?;
        ensure!(service["algorithm"] == "Random" && service["state"] == "served", "{service}");
        Ok(())
    })?;
    let order: Vec<String> =
        (0..60).map(|_| shop.client.connect(tcp())?.server()).collect::<Result<_, std::io::Error>>()?;
    assert!(order.windows(4).any(|four| four[0] != four[3]), "{order:?}");
    Ok(())
}
