//! What the owner of a Service may choose, and is told when it is not served: 31 and 33.

use anyhow::{Context, Result};
use mesh_tests::client::{Client, Connection};
use mesh_tests::echo::Listen;
use mesh_tests::expect::{counts, finding, logged, no_findings, tcp_reaches, udp_reaches};
use mesh_tests::manifest::{Service, policy, service, slice};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use nix::libc::{ECONNABORTED, EDESTADDRREQ};
use serde_json::{Value, json};
use std::iter;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn tcp() -> SocketAddr {
    at("10.96.0.10:80")
}

fn udp() -> SocketAddr {
    at("10.96.0.10:53")
}

fn web() -> Service {
    service("web").cluster_ip("10.96.0.10").tcp(80, 8080).udp(53, 53)
}

/// The Service with two pods of which the first is an endpoint, the agent and a client.
fn serve(manifest: &Service) -> Result<(World, [Pod; 2], Client)> {
    let world = World::new()?;
    let pods = [world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?];
    world.apply(&manifest.yaml())?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pods[0]).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    Ok((world, pods, client))
}

/// Takes the first pod out and puts the second in.
fn replace(world: &World, pods: &[Pod; 2]) -> Result<()> {
    world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pods[1]).yaml())
}

/// What the kernel says of a socket that it ended: the second is a UDP sender's.
const ENDED: [i32; 2] = [ECONNABORTED, EDESTADDRREQ];

fn ended(what: &str, ask: impl Fn() -> std::io::Result<String>) -> Result<()> {
    wait_for(&format!("{what} to be ended"), || match ask() {
        Err(error) if error.raw_os_error().is_some_and(|errno| ENDED.contains(&errno)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn s31_by_default_tcp_is_kept_and_udp_is_ended() -> Result<()> {
    let (world, pods, client) = serve(&web())?;
    let (stream, datagrams) = (client.connect(tcp())?, client.connect_udp(udp())?);
    assert_eq!((stream.server()?, datagrams.ask("who")?.server), ("web-1".into(), "web-1".into()));
    counts(world.agent(), "web", &[("web-1", 2)])?;
    replace(&world, &pods)?;
    ended("the UDP socket", || datagrams.ask("who").map(|answer| answer.server))?;
    tcp_reaches(&client, tcp(), &["web-2"])?;
    assert_eq!(stream.server()?, "web-1");
    // Its endpoint is gone, and the pod's name with it.
    counts(world.agent(), "web", &[(&pods[0].v4().to_string(), 1)])?;
    stream.close()?;
    counts(world.agent(), "web", &[])
}

#[test]
fn s31_connections_to_a_removed_endpoint_are_ended_at_once_where_the_service_says_so() -> Result<()> {
    let (world, pods, client) = serve(&web().annotation("mesh.dev/drain", "End"))?;
    let mapped = at("[::ffff:10.96.0.10]:80");
    let streams = [client.connect(tcp())?, client.connect(tcp())?, client.connect(mapped)?];
    let datagrams = client.connect_udp(udp())?;
    assert_eq!(datagrams.ask("who")?.server, "web-1");
    counts(world.agent(), "web", &[("web-1", 4)])?;
    // Terminating is not removed.
    world.apply(&slice("web").tcp(8080).udp(53).terminating(&pods[0], true).endpoint(&pods[1]).yaml())?;
    tcp_reaches(&client, tcp(), &["web-2"])?;
    streams.iter().try_for_each(|stream| stream.server().map(drop))?;

    replace(&world, &pods)?;
    for stream in &streams {
        ended("a TCP connection", || stream.server())?;
    }
    ended("the UDP socket", || datagrams.ask("who").map(|answer| answer.server))?;
    counts(world.agent(), "web", &[])?;
    tcp_reaches(&client, tcp(), &["web-2"])
}

#[test]
fn s31_what_connects_to_an_endpoint_that_is_back_is_not_ended() -> Result<()> {
    let (world, pods, client) = serve(&web().annotation("mesh.dev/drain", "End"))?;
    for _ in 0..15 {
        world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pods[0]).yaml())?;
        tcp_reaches(&client, tcp(), &["web-1"])?;
        let held = client.connect_many(tcp(), 3)?;
        replace(&world, &pods)?;
        ended("a TCP connection", || held[0].server())?;
        // Back while the others are still being ended.
        world.apply(&slice("web").tcp(8080).udp(53).endpoint(&pods[0]).yaml())?;
        tcp_reaches(&client, tcp(), &["web-1"])?;
        let fresh = client.connect_many(tcp(), 3)?;
        world.agent().status()?;
        fresh.iter().try_for_each(|one| one.server().map(drop))?;
    }
    counts(world.agent(), "web", &[])
}

#[test]
fn s31_connections_to_a_removed_endpoint_are_kept_where_the_service_says_so() -> Result<()> {
    let (world, pods, client) = serve(&web().annotation("mesh.dev/drain", "Keep"))?;
    let (stream, datagrams) = (client.connect(tcp())?, client.connect_udp(udp())?);
    replace(&world, &pods)?;
    udp_reaches(&client, udp(), &["web-2"])?;
    tcp_reaches(&client, tcp(), &["web-2"])?;
    assert_eq!((stream.server()?, datagrams.ask("who")?.server), ("web-1".into(), "web-1".into()));
    counts(world.agent(), "web", &[(&pods[0].v4().to_string(), 2)])?;
    drop((stream, datagrams));
    counts(world.agent(), "web", &[])
}

/// A connection to each of the two pods, both endpoints.
fn one_each(manifest: &Service, policy: Option<Value>) -> Result<(World, [Pod; 2], [Connection; 2], Client)> {
    let (world, pods, client) = serve(manifest)?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoints(&pods).yaml())?;
    if let Some(policy) = policy {
        world.apply(&policy.to_string())?;
    }
    tcp_reaches(&client, tcp(), &["web-1", "web-2"])?;
    let to = |pod: &str| -> Result<Connection> {
        loop {
            let one = client.connect(tcp())?;
            if one.server()? == pod {
                return Ok(one);
            }
        }
    };
    let connections = [to("web-1")?, to("web-2")?];
    counts(world.agent(), "web", &[("web-1", 1), ("web-2", 1)])?;
    Ok((world, pods, connections, client))
}

/// Waits until the pod's backend is shown as gone, with this said of its connections.
fn gone(world: &World, pod: &Pod, says: &str) -> Result<()> {
    wait_for(&format!("{} to be gone, and its connections: {says}", pod.name()), || {
        let backends = world.agent().ask(&["backend", "list"])?;
        let address = pod.v4().to_string();
        let is_it = |backend: &&Value| backend["state"] == "gone" && backend["address"] == address.as_str();
        let why = backends.as_array().and_then(|all| all.iter().find(is_it)).map(|backend| backend["why"].to_string());
        anyhow::ensure!(why.as_ref().is_some_and(|why| why.contains(says)), "{why:?}");
        Ok(())
    })
}

fn draining(drain: &Value) -> Value {
    policy(("default", "web"), "web", json!({"drain": drain}))
}

#[test]
fn s31_connections_to_a_removed_endpoint_are_ended_after_a_grace_time() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(3);
    let (world, pods, [leaves, stays], client) = one_each(&web().annotation("mesh.dev/drain", "3s"), None)?;
    let datagrams = iter::repeat_with(|| client.connect_udp(udp()))
        .find(|one| one.as_ref().is_ok_and(|one| one.ask("who").is_ok_and(|answer| answer.server == "web-1")))
        .context("an endless iterator")??;
    let removed = Instant::now();
    replace(&world, &pods)?;
    gone(&world, &pods[0], "its connections end in ")?;
    tcp_reaches(&client, tcp(), &["web-2"])?;
    // It goes on for as long as nobody can say that its time is over.
    while removed.elapsed() < GRACE / 2 {
        assert_eq!((leaves.server()?, datagrams.ask("who")?.server), ("web-1".into(), "web-1".into()));
        thread::sleep(Duration::from_millis(50));
    }
    ended("the connection", || leaves.server())?;
    ended("the UDP socket", || datagrams.ask("who").map(|answer| answer.server))?;
    assert!(removed.elapsed() >= GRACE, "it was ended too soon");
    assert_eq!(stays.server()?, "web-2");
    counts(world.agent(), "web", &[("web-2", 1)])
}

#[test]
fn s31_a_grace_time_goes_on_while_the_agent_is_killed_and_started_again() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(4);
    let policy = draining(&json!({"mode": "End", "gracePeriodSeconds": 4}));
    let (world, pods, [leaves, stays], _client) = one_each(&web(), Some(policy))?;
    let removed = Instant::now();
    replace(&world, &pods)?;
    gone(&world, &pods[0], "its connections end in ")?;
    world.agent().kill()?;
    assert_eq!(leaves.server()?, "web-1");
    world.agent().start()?;
    ended("the connection", || leaves.server())?;
    assert!(removed.elapsed() >= GRACE, "it was ended too soon");
    assert_eq!(stays.server()?, "web-2");
    counts(world.agent(), "web", &[("web-2", 1)])
}

#[test]
fn s31_how_long_is_changed_live_and_the_service_comes_before_the_policy() -> Result<()> {
    let long = draining(&json!({"mode": "End", "gracePeriodSeconds": 600}));
    let (world, pods, [leaves, stays], _client) = one_each(&web(), Some(long))?;
    let shown = |what: &[&str]| -> Result<Value> { Ok(world.agent().ask(what)?["drain"].clone()) };
    assert_eq!(shown(&["service", "show", "web"])?, "End after 600 s");
    assert_eq!(world.agent().ask(&["policy", "show", "web"])?[0]["drain"], "End after 600 s");
    let explained = world.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?["notes"].to_string();
    assert!(explained.contains("an endpoint that is removed: End after 600 s"), "{explained}");
    replace(&world, &pods)?;
    gone(&world, &pods[0], "its connections end in ")?;
    world.apply(&web().annotation("mesh.dev/drain", "Keep").yaml())?;
    gone(&world, &pods[0], "its connections go on until they end")?;
    assert_eq!(shown(&["service", "show", "web"])?, "Keep");
    world.apply(&web().yaml())?;
    gone(&world, &pods[0], "its connections end in ")?;
    assert_eq!(leaves.server()?, "web-1");
    world.apply(&draining(&json!({"mode": "End"})).to_string())?;
    ended("the connection", || leaves.server())?;
    assert_eq!(stays.server()?, "web-2");
    counts(world.agent(), "web", &[("web-2", 1)])
}

#[test]
fn s33_what_is_not_supported_is_reported_and_the_rest_is_served() -> Result<()> {
    let mut manifest: Value = serde_json::from_str(
        &service("web")
            .cluster_ip("10.96.0.10")
            .tcp(80, 8080)
            .spec("type", "LoadBalancer")
            .spec("trafficDistribution", "PreferTheMoon")
            .annotation("mesh.dev/wish", "more")
            .yaml(),
    )?;
    manifest["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}});
    let sctp = json!({"name": "sctp", "protocol": "SCTP", "port": 9, "targetPort": 9});
    if let Value::Array(ports) = &mut manifest["spec"]["ports"] {
        ports.push(sctp);
    }
    let world = World::new()?;
    let pod = world.backend("web-1", &PORTS)?;
    world.apply(&manifest.to_string())?;
    world.apply(&slice("web").tcp(8080).endpoint(&pod).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, tcp(), &["web-1"])?;
    for field in
        ["spec.type", "spec.trafficDistribution", "spec.ports[1].protocol", "metadata.annotations[mesh.dev/wish]"]
    {
        let said = finding(world.agent(), "unsupported", "Service/web", field)?;
        assert_eq!(said["file"], "service.default.web.yaml");
        logged(world.agent(), &format!("Service default/web: {field}: "))?;
    }
    world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    no_findings(world.agent())?;
    tcp_reaches(&client, tcp(), &["web-1"])
}
