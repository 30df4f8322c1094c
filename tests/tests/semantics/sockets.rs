//! What sockets observe as endpoints come and go: 20 to 23.

use anyhow::{Context, Result, bail, ensure};
use mesh_tests::client::Datagrams;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{counts, tcp_reaches, udp_reaches};
use mesh_tests::manifest::{service, slice, slice_v6};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{NODE_NAME, Pod, World};
use nix::libc::{ECONNABORTED, ECONNREFUSED, EDESTADDRREQ};
use serde_json::json;
use std::io::ErrorKind;
use std::net::SocketAddr;

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

/// A dual-stack Service `web` with these pods behind TCP port 80 and UDP port 53, and the agent.
fn serve(world: &World, pods: &[&Pod]) -> Result<()> {
    let web = service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53);
    world.apply(&web.yaml())?;
    put_endpoints(world, pods)?;
    world.agent().start()
}

fn put_endpoints(world: &World, pods: &[&Pod]) -> Result<()> {
    world.apply(&slice("web").tcp(8080).udp(53).endpoints(pods.iter().copied()).yaml())?;
    world.apply(&slice_v6("web").tcp(8080).udp(53).endpoints(pods.iter().copied()).yaml())
}

#[test]
fn s20_a_pod_reaches_itself_through_its_own_service() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("web-1", &PORTS)?;
    serve(&world, &[&pod])?;
    let itself = pod.client()?;
    for (tcp, udp) in [("10.96.0.10:80", "10.96.0.10:53"), ("[fd00:10:96::10]:80", "[fd00:10:96::10]:53")] {
        tcp_reaches(&itself, at(tcp), &["web-1"])?;
        udp_reaches(&itself, at(udp), &["web-1"])?;
        let (answer, from) = if at(udp).is_ipv6() { itself.udp_v6()? } else { itself.udp()? }.ask_at(at(udp), "me")?;
        assert_eq!((answer.server.as_str(), from), ("web-1", at(udp)));
    }
    let held = itself.connect(at("10.96.0.10:80"))?;
    assert_eq!(held.ask("who am I")?.client.ip(), pod.v4());
    Ok(())
}

#[test]
fn s21_host_network_clients_reach_frontends_with_and_without_a_local_backend() -> Result<()> {
    let world = World::new()?;
    let (here, there) = (world.backend("here", &PORTS)?, world.backend("there", &PORTS)?);
    serve(&world, &[&here])?;
    let host = world.host_pod("host")?.client()?;
    let pod = world.client("client")?;
    let frontends = ["10.96.0.10:80", "[fd00:10:96::10]:80", "[::ffff:10.96.0.10]:80"];
    let away = json!({"nodeName": "node-2", "conditions": {"ready": true}});
    let near = json!({"nodeName": NODE_NAME, "conditions": {"ready": true}});
    for (first, second, reached) in [
        ((&here, &near), None, vec!["here"]),
        ((&there, &away), None, vec!["there"]),
        ((&here, &near), Some((&there, &away)), vec!["here", "there"]),
    ] {
        for empty in [slice("web"), slice_v6("web")] {
            let one = empty.tcp(8080).udp(53).endpoint_with(first.0, first.1);
            let all = second.into_iter().fold(one, |slice, (pod, fields)| slice.endpoint_with(pod, fields));
            world.apply(&all.yaml())?;
        }
        for frontend in frontends {
            tcp_reaches(&host, at(frontend), &reached)?;
            tcp_reaches(&pod, at(frontend), &reached)?;
        }
        udp_reaches(&host, at("10.96.0.10:53"), &reached)?;
    }
    Ok(())
}

#[test]
fn s21_host_network_backends_serve_frontends() -> Result<()> {
    let world = World::new()?;
    let host = world.host_pod("host")?;
    host.serve(&PORTS)?;
    serve(&world, &[&host])?;
    for client in [world.client("client")?, host.client()?] {
        tcp_reaches(&client, at("10.96.0.10:80"), &["host"])?;
        tcp_reaches(&client, at("[fd00:10:96::10]:80"), &["host"])?;
        udp_reaches(&client, at("10.96.0.10:53"), &["host"])?;
    }
    Ok(())
}

/// Waits until a sender that is there has an answer from this server. Every try must have an answer or an error at once:
/// silence fails.
fn answers(what: &str, server: &str, ask: impl Fn() -> std::io::Result<String>) -> Result<()> {
    wait_for(&format!("{what} to be answered by {server}"), || match ask() {
        Ok(name) if name == server => Ok(Ok(())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Err(error)),
        other => Err(format!("{other:?}")),
    })?
    .or_else(|silence| bail!("{what}: silence: {silence}"))
}

/// Waits until a sender that is there has one of these errors. Silence fails.
fn fails(what: &str, errors: &[i32], ask: impl Fn() -> std::io::Result<String>) -> Result<()> {
    wait_for(&format!("{what} to fail with one of {errors:?}"), || match ask() {
        Err(error) if error.raw_os_error().is_some_and(|errno| errors.contains(&errno)) => Ok(Ok(())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Err(error)),
        other => Err(format!("{other:?}")),
    })?
    .or_else(|silence| bail!("{what}: silence: {silence}"))
}

/// What the kernel says of a UDP socket that it ended: the first to a receiver, the second to a sender.
const ENDED: [i32; 2] = [ECONNABORTED, EDESTADDRREQ];

/// Who answers now, on a socket that was ended and has connected anew. What it had received before is still in its queue,
/// and the end itself, if it has not been told of it yet, is the next call's error.
fn fresh_answer(socket: &Datagrams) -> std::io::Result<String> {
    let told = |error: &std::io::Error| error.raw_os_error() == Some(ECONNABORTED);
    socket.send("again").or_else(|error| if told(&error) { socket.send("again") } else { Err(error) })?;
    loop {
        match socket.receive() {
            Ok((answer, _)) if answer.text == "again" => return Ok(answer.server),
            Err(error) if !told(&error) => return Err(error),
            _ => {}
        }
    }
}

#[test]
fn s22_an_existing_udp_sender_reaches_a_live_endpoint_or_gets_an_error() -> Result<()> {
    let world = World::new()?;
    let (a, b) = (world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?);
    serve(&world, &[&a])?;
    let client = world.client("client")?;
    for (frontend, socket) in [
        (at("10.96.0.10:53"), client.udp()?),
        (at("[fd00:10:96::10]:53"), client.udp_v6()?),
        (at("[::ffff:10.96.0.10]:53"), client.udp_v6()?),
    ] {
        let ask = || socket.ask_at(frontend, "who").map(|(answer, _)| answer.server);
        put_endpoints(&world, &[&a])?;
        answers("at first, a sender", "web-1", ask)?;
        put_endpoints(&world, &[&b])?;
        answers("after its endpoint went, a sender", "web-2", ask)?;
        put_endpoints(&world, &[])?;
        fails("after the Service was scaled to zero, a sender", &[ECONNREFUSED], ask)?;
        put_endpoints(&world, &[&a])?;
        answers("after the Service came back, a sender", "web-1", ask)?;
    }
    Ok(())
}

#[test]
fn s22_a_connected_udp_sender_is_told_when_its_service_is_deleted() -> Result<()> {
    let world = World::new()?;
    let a = world.backend("web-1", &PORTS)?;
    serve(&world, &[&a])?;
    let client = world.client("client")?;
    let socket = client.connect_udp(at("10.96.0.10:53"))?;
    assert_eq!(socket.ask("who")?.server, "web-1");
    world.manifests().delete(&ObjectName::new("Service", "web"))?;
    fails("a connected sender", &ENDED, || socket.ask("who").map(|answer| answer.server))?;
    world.apply(&service("web").cluster_ip("10.96.0.10").udp(53, 53).yaml())?;
    // The client connects anew, with the same socket if it likes.
    let again = || {
        socket.connect(at("10.96.0.10:53"))?;
        fresh_answer(&socket)
    };
    wait_for("the Service to be back", || {
        again().and_then(|server| if server == "web-1" { Ok(()) } else { Err(std::io::Error::other(server)) })
    })
}

#[test]
fn s22_an_unconnected_udp_sender_is_told_when_its_service_is_deleted() -> Result<()> {
    let world = World::new()?;
    let a = world.backend("web-1", &PORTS)?;
    serve(&world, &[&a])?;
    let client = world.client("client")?;
    let (frontend, socket) = (at("10.96.0.10:53"), client.udp()?);
    let ask = || socket.ask_at(frontend, "who").map(|(answer, _)| answer.server);
    answers("at first, a sender", "web-1", ask)?;
    world.manifests().delete(&ObjectName::new("Service", "web"))?;
    fails("after its Service was deleted, a sender", &[ECONNREFUSED], ask)?;
    // Another Service takes the address over, and the first comes back: neither waits for what is left.
    let b = world.backend("other-1", &PORTS)?;
    world.apply(&service("other").cluster_ip("10.96.0.10").udp(53, 53).yaml())?;
    world.apply(&slice("other").udp(53).endpoint(&b).yaml())?;
    answers("when another has the address, a sender", "other-1", ask)?;
    world.manifests().delete(&ObjectName::new("Service", "other"))?;
    fails("after that, too, was deleted, a sender", &[ECONNREFUSED], ask)?;
    world.apply(&service("web").cluster_ip("10.96.0.10").udp(53, 53).yaml())?;
    answers("when its Service is back, a sender", "web-1", ask)
}

#[test]
fn s22_a_flow_does_not_go_on_with_another_services_endpoint() -> Result<()> {
    let world = World::new()?;
    let a = world.backend("web-1", &PORTS)?;
    world.apply(&service("web").cluster_ip("10.96.0.10").udp(53, 53).yaml())?;
    world.apply(&slice("web").udp(53).endpoint(&a).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    let socket = client.udp()?;
    let ask = || socket.ask_at(at("10.96.0.10:53"), "who").map(|(answer, _)| answer.server);
    answers("at first, a sender", "web-1", ask)?;
    world.apply(&slice("web").udp(53).yaml())?;
    fails("after the Service was scaled to zero, a sender", &[ECONNREFUSED], ask)?;
    // The entry that its flow names is free by then, and becomes that of the same pod and port for another Service.
    wait_for("the endpoint's entry to be free", || {
        let status = world.agent().status()?;
        let maps = status["maps"].as_array().context("maps")?;
        let backends = maps.iter().find(|map| map["name"] == "BACKENDS").context("BACKENDS")?;
        ensure!(backends["used"] == 0, "{backends}");
        Ok(())
    })?;
    world.apply(&service("other").cluster_ip("10.96.0.20").udp(53, 53).yaml())?;
    world.apply(&slice("other").udp(53).endpoint(&a).yaml())?;
    udp_reaches(&client, at("10.96.0.20:53"), &["web-1"])?;
    fails("the sender to the empty Service", &[ECONNREFUSED], ask)
}

#[test]
fn s22_flows_survive_an_agent_restart() -> Result<()> {
    let world = World::new()?;
    let (a, b) = (world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?);
    serve(&world, &[&a, &b])?;
    let client = world.client("client")?;
    let frontend = at("10.96.0.10:53");
    let unconnected: Vec<_> = (0..8).map(|_| client.udp()).collect::<Result<_, _>>()?;
    let connected: Vec<_> = (0..8).map(|_| client.connect_udp(frontend)).collect::<Result<_, _>>()?;
    let whom = || -> Result<Vec<String>> {
        let ask = |socket: &Datagrams| Ok(socket.ask_at(frontend, "who")?.0.server);
        let ask_peer = |socket: &Datagrams| Ok(socket.ask("who")?.server);
        unconnected.iter().map(ask).chain(connected.iter().map(ask_peer)).collect()
    };
    let before = whom()?;
    world.agent().kill()?;
    assert_eq!(whom()?, before, "without an agent");
    world.agent().start()?;
    assert_eq!(whom()?, before, "with the next agent");
    Ok(())
}

#[test]
fn s23_connected_udp_sockets_to_a_removed_backend_are_ended() -> Result<()> {
    let world = World::new()?;
    let (a, b) = (world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?);
    serve(&world, &[&a])?;
    let client = world.client("client")?;
    for frontend in [at("10.96.0.10:53"), at("[fd00:10:96::10]:53"), at("[::ffff:10.96.0.10]:53")] {
        let socket = client.connect_udp(frontend)?;
        assert_eq!(socket.ask("who")?.server, "web-1");
        assert_eq!(socket.peer()?, frontend);
        counts(world.agent(), "web", &[("web-1", 1)])?;
        put_endpoints(&world, &[&b])?;
        fails("a connected socket", &ENDED, || socket.ask("who").map(|answer| answer.server))?;
        counts(world.agent(), "web", &[])?;
        // It connects anew.
        socket.connect(frontend)?;
        assert_eq!((fresh_answer(&socket)?.as_str(), socket.peer()?), ("web-2", frontend));
        counts(world.agent(), "web", &[("web-2", 1)])?;
        socket.close()?;
        counts(world.agent(), "web", &[])?;
        put_endpoints(&world, &[&a])?;
        udp_reaches(&client, frontend, &["web-1"])?;
    }
    Ok(())
}

#[test]
fn s23_the_next_datagram_of_an_unconnected_socket_goes_to_a_live_backend() -> Result<()> {
    let world = World::new()?;
    let (a, b) = (world.backend("web-1", &PORTS)?, world.backend("web-2", &PORTS)?);
    serve(&world, &[&a])?;
    let client = world.client("client")?;
    let (socket, frontend) = (client.udp()?, at("10.96.0.10:53"));
    assert_eq!(socket.ask_at(frontend, "who")?.1, frontend);
    put_endpoints(&world, &[&b])?;
    // In force for a new socket is in force for every socket.
    udp_reaches(&client, frontend, &["web-2"])?;
    let (answer, from) = socket.ask_at(frontend, "who")?;
    assert_eq!((answer.server.as_str(), from), ("web-2", frontend));
    Ok(())
}
