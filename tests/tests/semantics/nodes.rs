//! `NodePort`s for clients in the cluster: 5, 12 and 13.

use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{finding, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{Service, service, slice, slice_v6};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Addresses, NODE_NAME, Pod, World};
use serde_json::json;
use std::io::ErrorKind;
use std::net::SocketAddr;

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

/// Addresses of another node. Nobody has them here: what reaches a server by them was translated.
const OTHER: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

/// This node's addresses, with a port.
fn here(port: u16) -> [SocketAddr; 2] {
    let Addresses { v4, v6 } = Addresses::NODE;
    [(v4, port).into(), (v6, port).into()]
}

fn there(port: u16) -> [SocketAddr; 2] {
    OTHER.map(|address| (address.parse::<std::net::IpAddr>().expect("an address"), port).into())
}

fn node(name: &str, addresses: &[String]) -> String {
    let addresses: Vec<_> = addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses}})
        .to_string()
}

/// Both nodes.
fn nodes(world: &World) -> Result<()> {
    world.apply(&node(NODE_NAME, &here(0).map(|at| at.ip().to_string())))?;
    world.apply(&node("node-2", &OTHER.map(str::to_owned)))
}

fn web(node_ports: Option<[u16; 2]>) -> Service {
    let [tcp, udp] = node_ports.map_or([None; 2], |ports| ports.map(Some));
    let ports = json!([
        {"name": "tcp-8080", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": tcp},
        {"name": "udp-53", "protocol": "UDP", "port": 53, "targetPort": 53, "nodePort": udp},
    ]);
    let web = service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10");
    web.spec("ports", ports).spec("type", "NodePort")
}

/// Two pods behind `web`, one of them on another node.
fn pods(world: &World) -> Result<[Pod; 2]> {
    let pods = [world.backend("pod-1", &PORTS)?, world.backend("pod-2", &PORTS)?];
    let away = json!({"nodeName": "node-2", "conditions": {"ready": true}});
    for empty in [slice("web"), slice_v6("web")] {
        world.apply(&empty.tcp(8080).udp(53).endpoint(&pods[0]).endpoint_with(&pods[1], &away).yaml())?;
    }
    Ok(pods)
}

/// Waits until nothing is translated there: it is refused by whoever has the address, or there is no way to it.
fn left_alone(client: &Client, to: SocketAddr) -> Result<()> {
    wait_for(&format!("{to} to be left alone"), || match client.connect(to).map(drop) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
            ) =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn s12_a_node_port_answers_at_every_nodes_address_and_at_loopback_for_the_node_itself() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    nodes(&world)?;
    world.apply(&web(Some([30_080, 30_053])).yaml())?;
    world.agent().start()?;
    let (client, host) = (world.client("client")?, world.host_pod("host")?.client()?);
    for client in [&client, &host] {
        for to in here(30_080).into_iter().chain(there(30_080)) {
            tcp_reaches(client, to, &["pod-1", "pod-2"])?;
        }
        for to in here(30_053).into_iter().chain(there(30_053)) {
            udp_reaches(client, to, &["pod-1", "pod-2"])?;
        }
    }
    for loopback in ["127.0.0.1", "[::1]"] {
        tcp_reaches(&host, at(&format!("{loopback}:30080")), &["pod-1", "pod-2"])?;
        udp_reaches(&host, at(&format!("{loopback}:30053")), &["pod-1", "pod-2"])?;
        // A pod's loopback address is the pod's own.
        left_alone(&client, at(&format!("{loopback}:30080")))?;
    }
    left_alone(&host, at("127.0.0.2:30080"))?;

    // What a client sees of its peer is what it dialled.
    let held = client.connect(there(30_080)[0])?;
    assert_eq!(held.peer()?, there(30_080)[0]);
    let (answer, from) = client.udp()?.ask_at(there(30_053)[0], "who")?;
    ensure!(["pod-1", "pod-2"].contains(&answer.server.as_str()) && from == there(30_053)[0], "{answer:?} {from}");

    // All else at nodes' addresses is the node's own business: other ports, and the port of the other protocol.
    let own = world.host_pod("own")?;
    let _server = own.serve(&[Listen::tcp(9090), Listen::tcp(30_053)])?;
    tcp_reaches(&client, here(9090)[0], &["own"])?;
    tcp_reaches(&client, here(30_053)[0], &["own"])?;
    tcp_reaches(&host, at("127.0.0.1:9090"), &["own"])?;

    let explained = world.agent().ask(&["explain", "tcp", &there(30_080)[1].to_string()])?;
    assert_eq!((&explained["outcome"], &explained["service"]["name"]), (&json!("balanced"), &json!("web")));
    let other = world.agent().ask(&["explain", "tcp", &here(9090)[0].to_string()])?;
    assert_eq!(other["outcome"], "untouched");
    let shown = world.agent().service("default", "web")?;
    assert_eq!((&shown["ports"][0]["nodePort"], &shown["externalIPs"]), (&json!(30_080), &json!([])));
    finding(world.agent(), "unsupported", "Service/web", "spec.type")?;
    Ok(())
}

#[test]
fn s12_node_ports_and_nodes_come_change_and_go() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    nodes(&world)?;
    world.apply(&web(Some([30_080, 30_053])).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, there(30_080)[0], &["pod-1", "pod-2"])?;
    // The port is another; the node's addresses are others.
    world.apply(&web(Some([30_081, 30_053])).yaml())?;
    tcp_reaches(&client, there(30_081)[0], &["pod-1", "pod-2"])?;
    left_alone(&client, there(30_080)[0])?;
    world.apply(&node("node-2", &["198.51.100.3".to_owned()]))?;
    tcp_reaches(&client, at("198.51.100.3:30081"), &["pod-1", "pod-2"])?;
    left_alone(&client, there(30_081)[0])?;
    // An agent that is killed leaves it in force; the next adopts it.
    world.agent().kill()?;
    tcp_reaches(&client, at("198.51.100.3:30081"), &["pod-1", "pod-2"])?;
    world.agent().start()?;
    tcp_reaches(&client, at("198.51.100.3:30081"), &["pod-1", "pod-2"])?;
    world.manifests().delete(&ObjectName::new("Node", "node-2"))?;
    left_alone(&client, at("198.51.100.3:30081"))?;
    tcp_reaches(&client, here(30_081)[0], &["pod-1", "pod-2"])?;
    // 13: without a NodePort there is none.
    world.apply(&web(None).spec("type", "LoadBalancer").spec("allocateLoadBalancerNodePorts", false).yaml())?;
    left_alone(&client, here(30_081)[0])?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["pod-1", "pod-2"])
}

#[test]
fn s12_this_nodes_ports_only_or_none_where_the_agent_is_told_so() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    nodes(&world)?;
    world.apply(&web(Some([30_080, 30_053])).yaml())?;
    world.agent().spawn_with(&["--node-ports", "this-node"])?;
    world.agent().wait_ready()?;
    let client = world.client("client")?;
    tcp_reaches(&client, here(30_080)[0], &["pod-1", "pod-2"])?;
    left_alone(&client, there(30_080)[0])?;
    world.agent().kill()?;
    world.agent().spawn_with(&["--node-ports", "off"])?;
    world.agent().wait_ready()?;
    left_alone(&client, here(30_080)[0])?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["pod-1", "pod-2"])
}

#[test]
fn s05_clients_in_the_cluster_reach_all_endpoints_by_a_node_port() -> Result<()> {
    let world = World::new()?;
    let pods = pods(&world)?;
    nodes(&world)?;
    let local =
        web(Some([30_080, 30_053])).spec("externalTrafficPolicy", "Local").spec("internalTrafficPolicy", "Local");
    world.apply(&local.yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["pod-1"])?;
    for to in [here(30_080)[0], there(30_080)[0]] {
        tcp_reaches(&client, to, &["pod-1", "pod-2"])?;
    }
    // Nobody is left.
    for empty in [slice("web"), slice_v6("web")] {
        world.apply(&empty.tcp(8080).udp(53).not_ready(&pods[0]).yaml())?;
    }
    tcp_refused(&client, here(30_080)[0])
}
