//! A client keeps its backend: 7.

use anyhow::{Result, anyhow, bail, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{tcp_reaches, tcp_refused};
use mesh_tests::manifest::{Service, limits, policy, service, slice, slice_v6};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];
const HTTP: &str = "10.96.0.10:80";
const DNS: &str = "10.96.0.10:53";
/// Connects in a row. A client that is balanced anew each time reaches one and the same of four backends so often but
/// for one run in 10^24.
const CONNECTS: u32 = 40;

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

/// A dual-stack Service `web` with session affinity; `None` for Kubernetes' default timeout.
fn web(timeout_seconds: Option<u32>) -> Service {
    let web = service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53);
    let web = web.spec("sessionAffinity", "ClientIP");
    match timeout_seconds {
        Some(seconds) => web.spec("sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": seconds}})),
        None => web,
    }
}

/// A Service `web` with session affinity and four pods.
fn serve(timeout_seconds: Option<u32>) -> Result<(World, Vec<Pod>)> {
    let world = World::new()?;
    let pods: Vec<_> = (1..=4).map(|n| world.backend(&format!("web-{n}"), &PORTS)).collect::<Result<_>>()?;
    world.apply(&web(timeout_seconds).yaml())?;
    put_endpoints(&world, &pods)?;
    world.agent().start()?;
    Ok((world, pods))
}

fn put_endpoints<'p>(world: &World, pods: impl IntoIterator<Item = &'p Pod> + Clone) -> Result<()> {
    world.apply(&slice("web").tcp(8080).udp(53).endpoints(pods.clone()).yaml())?;
    world.apply(&slice_v6("web").tcp(8080).udp(53).endpoints(pods).yaml())
}

/// The one backend that many new connections reach.
fn the_one(client: &Client, to: SocketAddr) -> Result<String> {
    let tally = client.tally(to, CONNECTS)?;
    ensure!(tally.failed() == 0 && tally.answers.len() == 1, "{to}: {tally:?}");
    Ok(tally.answers.into_keys().next().unwrap_or_default())
}

/// The one backend that many new connected UDP sockets reach.
fn the_one_udp(client: &Client, to: SocketAddr) -> Result<String> {
    let tally = client.tally_udp(to, CONNECTS)?;
    ensure!(tally.failed() == 0 && tally.answers.len() == 1, "{to}: {tally:?}");
    Ok(tally.answers.into_keys().next().unwrap_or_default())
}

#[test]
fn s07_session_affinity_keeps_a_client_on_its_backend_and_spreads_clients() -> Result<()> {
    let (world, _pods) = serve(None)?;
    let clients: Vec<_> = (0..12).map(|n| world.client(&format!("client-{n}"))).collect::<Result<_>>()?;
    let first: Vec<_> = clients.iter().map(|client| the_one(client, at(HTTP))).collect::<Result<_>>()?;
    // Twelve clients on one of four backends: one run in four million.
    ensure!(first.iter().collect::<BTreeSet<_>>().len() > 1, "{first:?}");
    let again: Vec<_> = clients.iter().map(|client| the_one(client, at(HTTP))).collect::<Result<_>>()?;
    assert_eq!(again, first);
    // Each port and each family by itself: of twelve clients the choices for all agree by chance in no run.
    let v6: Vec<_> = clients.iter().map(|client| the_one(client, at("[fd00:10:96::10]:80"))).collect::<Result<_>>()?;
    let udp: Vec<_> = clients.iter().map(|client| the_one_udp(client, at(DNS))).collect::<Result<_>>()?;
    ensure!(v6 != first && udp != first, "{first:?}, {v6:?}, {udp:?}");
    // A v4-mapped address is the IPv4 one.
    let mapped: Vec<_> =
        clients.iter().map(|client| the_one(client, at("[::ffff:10.96.0.10]:80"))).collect::<Result<_>>()?;
    assert_eq!(mapped, first);
    let service = world.agent().ask(&["service", "show", "default/web"])?;
    assert_eq!(service["affinityTimeoutSeconds"], 10_800);
    let kept = service["reasons"]["affinity"].as_u64().unwrap_or_default();
    assert_eq!(kept, u64::from(12 * (5 * CONNECTS - 3)), "all but the first connections: {service}");
    assert_eq!(service["reasons"]["selected"], 36);
    let explained = world.agent().ask(&["explain", "tcp", HTTP])?;
    assert_eq!(explained["rule"]["affinityTimeoutSeconds"], 10_800);
    ensure!(explained["notes"].to_string().contains("session affinity"), "{explained}");
    Ok(())
}

#[test]
fn s07_session_affinity_holds_for_datagrams_of_sockets_that_are_not_connected() -> Result<()> {
    let (world, _pods) = serve(None)?;
    let client = world.client("client")?;
    let connected = the_one_udp(&client, at(DNS))?;
    for _ in 0..CONNECTS {
        assert_eq!(client.udp()?.ask_at(at(DNS), "who")?.0.server, connected);
    }
    // And the other way round: the datagram came first.
    let other = world.client("other")?;
    let first = other.udp()?.ask_at(at(DNS), "who")?.0.server;
    assert_eq!(the_one_udp(&other, at(DNS))?, first);
    Ok(())
}

#[test]
fn s07_clients_on_the_host_network_share_one_affinity() -> Result<()> {
    let (world, _pods) = serve(None)?;
    let clients: Vec<_> = (0..6).map(|n| world.host_pod(&format!("host-{n}"))?.client()).collect::<Result<_>>()?;
    let reached: Vec<_> = clients.iter().map(|client| the_one(client, at(HTTP))).collect::<Result<_>>()?;
    // Six clients of their own would agree in one run of a thousand; four ports and families in none.
    ensure!(reached.iter().all(|server| *server == reached[0]), "{reached:?}");
    let udp: Vec<_> = clients.iter().map(|client| the_one_udp(client, at(DNS))).collect::<Result<_>>()?;
    ensure!(udp.iter().all(|server| *server == udp[0]), "{udp:?}");
    let v6: Vec<_> = clients.iter().map(|client| the_one(client, at("[fd00:10:96::10]:80"))).collect::<Result<_>>()?;
    ensure!(v6.iter().all(|server| *server == v6[0]), "{v6:?}");
    Ok(())
}

#[test]
fn s07_idleness_ends_it_and_each_connection_begins_the_time_anew() -> Result<()> {
    const TIME: Duration = Duration::from_secs(1);
    let (world, _pods) = serve(Some(1))?;
    let client = world.client("client")?;
    // Each try comes after the time has run out, so each is balanced anew: some time it is another one.
    let first = client.connect(at(HTTP))?.server()?;
    wait_for("idleness to end the affinity", || {
        thread::sleep(TIME * 11 / 10);
        let now = client.connect(at(HTTP))?.server()?;
        ensure!(now != first, "it is {now} again");
        Ok(())
    })?;
    // A client that keeps coming keeps its backend, for longer than the time. A pause of the machine proves nothing: then
    // it is tried again.
    wait_for("a stretch of time without a pause", || -> Result<Result<()>> {
        let kept = the_one(&client, at(HTTP))?;
        let begun = Instant::now();
        let mut asked = begun;
        while begun.elapsed() < 3 * TIME {
            let server = client.connect(at(HTTP))?.server()?;
            if asked.elapsed() > TIME * 9 / 10 {
                bail!("the machine paused");
            }
            asked = Instant::now();
            if server != kept {
                return Ok(Err(anyhow!("{kept} became {server}")));
            }
            thread::sleep(TIME / 20);
        }
        Ok(Ok(()))
    })?
}

#[test]
fn s07_an_endpoint_that_goes_or_takes_no_new_connections_ends_it() -> Result<()> {
    let (world, pods) = serve(None)?;
    let client = world.client("client")?;
    let kept = the_one(&client, at(HTTP))?;
    // Others come and go: it is kept, wherever its slot is now.
    let others: Vec<_> = pods.iter().filter(|pod| pod.name() != kept).collect();
    let own: Vec<_> = pods.iter().filter(|pod| pod.name() == kept).collect();
    put_endpoints(&world, [own[0], others[2]])?;
    wait_for("the change", || {
        let eligible = &world.agent().service("default", "web")?["backends"]["eligible"];
        ensure!(*eligible == 8, "{eligible}");
        Ok(())
    })?;
    assert_eq!(the_one(&client, at(HTTP))?, kept);

    // It terminates and still serves: kube-proxy keeps no client on an endpoint that takes no new connections.
    let terminating = slice("web").tcp(8080).udp(53).terminating(own[0], true).endpoint(others[0]).endpoint(others[1]);
    world.apply(&terminating.yaml())?;
    wait_for("new connections to avoid the terminating endpoint", || {
        let server = client.connect(at(HTTP))?.server()?;
        ensure!(server != kept, "{server}");
        Ok(())
    })?;
    let next = the_one(&client, at(HTTP))?;
    ensure!(next != kept, "{next}");
    // It comes back: the client stays where it is now.
    put_endpoints(&world, &pods)?;
    wait_for("all four", || {
        let eligible = &world.agent().service("default", "web")?["backends"]["eligible"];
        ensure!(*eligible == 16, "{eligible}");
        Ok(())
    })?;
    assert_eq!(the_one(&client, at(HTTP))?, next);

    // It is removed.
    put_endpoints(&world, pods.iter().filter(|pod| pod.name() != next))?;
    wait_for("new connections to avoid the removed endpoint", || {
        let server = client.connect(at(HTTP))?.server()?;
        ensure!(server != next, "{server}");
        Ok(())
    })?;
    the_one(&client, at(HTTP))?;
    // None is left: affinity does not lead anywhere.
    put_endpoints(&world, [])?;
    tcp_refused(&client, at(HTTP))
}

#[test]
fn s07_session_affinity_survives_the_agent_and_a_change_of_the_algorithm() -> Result<()> {
    let (world, _pods) = serve(None)?;
    let clients: Vec<_> = (0..6).map(|n| world.client(&format!("client-{n}"))).collect::<Result<_>>()?;
    let reached = || clients.iter().map(|client| the_one(client, at(HTTP))).collect::<Result<Vec<_>>>();
    let before = reached()?;
    world.agent().kill()?;
    assert_eq!(reached()?, before, "without an agent");
    world.agent().start()?;
    assert_eq!(reached()?, before, "with the next agent");
    let turns = policy(("default", "turns"), "web", json!({"loadBalancer": {"algorithm": "RoundRobin"}}));
    world.apply(&turns.to_string())?;
    wait_for("the algorithm", || {
        let algorithm = &world.agent().service("default", "web")?["algorithm"];
        ensure!(algorithm == "RoundRobin", "{algorithm}");
        Ok(())
    })?;
    assert_eq!(reached()?, before, "with another algorithm");
    // Without affinity each connection is balanced by itself.
    world.apply(&web(None).spec("sessionAffinity", "None").yaml())?;
    tcp_reaches(&clients[0], at(HTTP), &["web-1", "web-2", "web-3", "web-4"])
}

#[test]
fn s07_a_full_backend_is_left_for_another_and_not_forgotten() -> Result<()> {
    let (world, _pods) = serve(None)?;
    world.apply(&limits("web", None, Some(2)))?;
    wait_for("the limit", || {
        let limit = &world.agent().service("default", "web")?["maxConnectionsPerBackend"];
        ensure!(*limit == 2, "{limit}");
        Ok(())
    })?;
    let client = world.client("client")?;
    let held = client.connect_many(at(HTTP), 2)?;
    let kept = held[0].server()?;
    assert_eq!(held[1].server()?, kept);
    let spilled = client.connect(at(HTTP))?;
    ensure!(spilled.server()? != kept, "three connections to a backend that takes two");
    drop(held);
    wait_for("the backend to have room", || {
        let server = client.connect(at(HTTP))?.server()?;
        ensure!(server == kept, "{server}");
        Ok(())
    })?;
    let reasons = &world.agent().ask(&["service", "show", "default/web"])?["reasons"];
    ensure!(reasons["spilled"].as_u64() >= Some(1) && reasons["selected"] == 1, "{reasons}");
    Ok(())
}

#[test]
fn s07_the_first_connections_of_a_client_at_once_agree() -> Result<()> {
    let (world, _pods) = serve(None)?;
    for round in 0..20 {
        let pod = world.pod(&format!("client-{round}"))?;
        let clients: Vec<_> = (0..4).map(|_| pod.client()).collect::<Result<_>>()?;
        let reached: Vec<Result<String>> = thread::scope(|scope| {
            let connect = |client: &Client| Ok(client.connect(at(HTTP))?.server()?);
            let threads: Vec<_> = clients.iter().map(|client| scope.spawn(move || connect(client))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
        });
        let reached = reached.into_iter().collect::<Result<BTreeSet<_>>>()?;
        ensure!(reached.len() == 1, "{reached:?}");
    }
    Ok(())
}
