//! Limits on the flows of a client: UDP sockets that are not connected.

use super::{Shop, at, udp};
use anyhow::{Result, bail, ensure};
use mesh_tests::client::{Client, Datagrams};
use mesh_tests::expect::refusals;
use mesh_tests::manifest::policy;
use mesh_tests::wait::wait_for;
use nix::libc::ECONNREFUSED;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::thread;

/// Puts limits on `web`, and waits until they are in force.
fn limit(shop: &Shop, limits: &Value) -> Result<()> {
    shop.world.apply(&policy(("default", "web"), "web", json!({"limits": limits})).to_string())?;
    wait_for("the limits", || {
        let service = shop.world.agent().service("default", "web")?;
        for field in ["maxFlowsPerClient", "flowIdleSeconds"] {
            ensure!(service[field] == limits[field], "{service}");
        }
        ensure!(service["observe"] == (limits["mode"] == "Observe"), "{service}");
        Ok(())
    })
}

/// Whether a datagram gets through; an error that is no refusal is one of the test.
fn gets_through(socket: &Datagrams, to: SocketAddr) -> Result<bool> {
    match socket.ask_at(to, "who") {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(ECONNREFUSED) => Ok(false),
        Err(error) => bail!("{error:?}"),
    }
}

/// So many sockets, each with a flow.
fn flows(client: &Client, count: usize) -> io::Result<Vec<Datagrams>> {
    let one = || {
        let socket = client.udp()?;
        socket.ask_at(udp(), "who")?;
        Ok(socket)
    };
    (0..count).map(|_| one()).collect()
}

#[test]
fn each_client_has_so_many_over_both_families_and_closed_sockets_count_until_they_are_idle() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    limit(&shop, &json!({"maxFlowsPerClient": 3, "flowIdleSeconds": 3600}))?;
    let mine = flows(&shop.client, 3)?;
    let (fourth, sixth) = (shop.client.udp()?, shop.client.udp_v6()?);
    assert!(!gets_through(&fourth, udp())?);
    assert!(!gets_through(&sixth, at("[fd00:10:96::10]:53"))?);
    assert_eq!(refusals(shop.world.agent(), "flow-limit")?, 2);
    for socket in &mine {
        assert!(gets_through(socket, udp())?, "what counts goes on");
    }
    let other = shop.world.client("other")?;
    assert_eq!(flows(&other, 3)?.len(), 3, "another client has its own");

    // Connected sockets are connections.
    let connected = shop.client.connect_udp(udp())?;
    connected.ask("who")?;

    // Lowered below what is there: that goes on, and nobody new comes in. Raised: one more.
    limit(&shop, &json!({"maxFlowsPerClient": 1, "flowIdleSeconds": 3600}))?;
    for socket in &mine {
        assert!(gets_through(socket, udp())?);
    }
    assert!(!gets_through(&fourth, udp())?);
    limit(&shop, &json!({"maxFlowsPerClient": 4, "flowIdleSeconds": 3600}))?;
    assert!(gets_through(&fourth, udp())?);
    drop(mine);
    assert!(!gets_through(&sixth, at("[fd00:10:96::10]:53"))?, "a flow is not its socket");
    limit(&shop, &json!({"maxConnections": 50}))?;
    assert!(gets_through(&sixth, at("[fd00:10:96::10]:53"))?, "no limit any more");
    Ok(())
}

#[test]
fn an_idle_flow_gives_way_also_while_no_agent_runs_and_keeps_its_backend() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    limit(&shop, &json!({"maxFlowsPerClient": 1, "flowIdleSeconds": 1}))?;
    shop.world.agent().kill()?;
    let (one, other) = (shop.client.udp()?, shop.client.udp()?);
    let server = one.ask_at(udp(), "who")?.0.server;
    let takes_over = |socket: &Datagrams| {
        wait_for("the other flow to be idle", || {
            ensure!(gets_through(socket, udp())?, "refused");
            Ok(())
        })
    };
    takes_over(&other)?;
    assert!(!gets_through(&one, udp())?, "its place is another's");
    for _ in 0..3 {
        takes_over(&one)?;
        assert_eq!(one.ask_at(udp(), "who")?.0.server, server);
        takes_over(&other)?;
    }
    Ok(())
}

#[test]
fn of_sockets_that_begin_at_once_exactly_as_many_get_through() -> Result<()> {
    const MOST: usize = 40;
    let shop = Shop::with_pods(1)?;
    limit(&shop, &json!({"maxFlowsPerClient": MOST, "flowIdleSeconds": 3600}))?;
    // Both are in one network namespace: one client.
    let pod = shop.world.pod("busy")?;
    let clients = [pod.client()?, pod.client()?];
    let through: Vec<usize> = thread::scope(|scope| {
        let running = clients.each_ref().map(|client| {
            scope.spawn(move || -> Result<usize> {
                let sockets: Vec<Datagrams> = (0..MOST).map(|_| client.udp()).collect::<io::Result<_>>()?;
                let through = sockets.iter().map(|socket| gets_through(socket, udp())).collect::<Result<Vec<_>>>()?;
                Ok(through.into_iter().filter(|through| *through).count())
            })
        });
        running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect::<Result<_>>()
    })?;
    assert_eq!(through.iter().sum::<usize>(), MOST, "{through:?}");
    Ok(())
}

#[test]
fn observing_counts_each_flow_beyond_the_limit_once_and_refuses_none() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    limit(&shop, &json!({"maxFlowsPerClient": 2, "flowIdleSeconds": 3600, "mode": "Observe"}))?;
    let mine = flows(&shop.client, 5)?;
    for socket in &mine {
        assert!(gets_through(socket, udp())?);
    }
    let agent = shop.world.agent();
    let detail = agent.ask(&["service", "show", "web"])?;
    assert_eq!(detail["reasons"]["observed-flow-limit"], 3, "{detail}");
    assert_eq!(agent.service("default", "web")?["refused"], 0);
    // Enforced from now on, with those counted.
    limit(&shop, &json!({"maxFlowsPerClient": 2, "flowIdleSeconds": 3600, "mode": "Enforce"}))?;
    assert!(mine.iter().all(|socket| gets_through(socket, udp()).is_ok_and(|through| through)));
    assert!(!gets_through(&shop.client.udp()?, udp())?);
    Ok(())
}
