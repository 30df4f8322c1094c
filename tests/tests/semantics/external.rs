//! Addresses besides the ClusterIP, for clients in the cluster: 5, 14 to 16.

use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{finding, no_findings, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{Service, service, slice, slice_v6};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use serde_json::{Value, json};
use std::net::SocketAddr;

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn web() -> Service {
    service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53)
}

/// The Service with addresses of a load balancer in its status.
fn balanced(service: &Service, ingress: &Value) -> Result<String> {
    let mut object: Value = serde_json::from_str(&service.yaml())?;
    object["status"] = json!({"loadBalancer": {"ingress": ingress}});
    Ok(object.to_string())
}

/// Two pods behind `web`, one of them on another node.
fn pods(world: &World) -> Result<[Pod; 2]> {
    let pods = [world.backend("here", &PORTS)?, world.backend("there", &PORTS)?];
    let away = json!({"nodeName": "node-2", "conditions": {"ready": true}});
    for empty in [slice("web"), slice_v6("web")] {
        world.apply(&empty.tcp(8080).udp(53).endpoint(&pods[0]).endpoint_with(&pods[1], &away).yaml())?;
    }
    Ok(pods)
}

/// Waits until an address is none of the mesh's: a UDP socket that connects to it speaks to it, or finds no way there.
fn untouched(client: &Client, address: SocketAddr) -> Result<()> {
    wait_for(&format!("{address} to be left alone"), || match client.connect_udp(address) {
        Ok(socket) => {
            let local = socket.ask("who");
            ensure!(local.is_err(), "{local:?}");
            Ok(())
        }
        Err(error) => {
            ensure!(error.raw_os_error() != Some(nix::libc::ECONNREFUSED), "{error}");
            Ok(())
        }
    })
}

#[test]
fn s14_the_load_balancers_addresses_are_served_on_the_node() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    let ingress = json!([{"ip": "203.0.113.9"}, {"ip": "2001:db8::9", "ipMode": "VIP"}]);
    world.apply(&balanced(&web(), &ingress)?)?;
    world.agent().start()?;
    let (client, host) = (world.client("client")?, world.host_pod("host")?.client()?);
    for client in [&client, &host] {
        for to in ["203.0.113.9:80", "[2001:db8::9]:80", "[::ffff:203.0.113.9]:80", "10.96.0.10:80"] {
            tcp_reaches(client, at(to), &["here", "there"])?;
        }
        udp_reaches(client, at("203.0.113.9:53"), &["here", "there"])?;
    }
    let held = client.connect(at("203.0.113.9:80"))?;
    assert_eq!(held.peer()?, at("203.0.113.9:80"));
    let (answer, from) = client.udp()?.ask_at(at("203.0.113.9:53"), "who")?;
    ensure!(["here", "there"].contains(&answer.server.as_str()) && from == at("203.0.113.9:53"), "{answer:?} {from}");
    let shown = world.agent().service("default", "web")?;
    assert_eq!(shown["externalIPs"], json!(["203.0.113.9", "2001:db8::9"]));
    let explained = world.agent().ask(&["explain", "tcp", "203.0.113.9:80"])?;
    assert_eq!((&explained["outcome"], &explained["service"]["name"]), (&json!("balanced"), &json!("web")));
    // A port that is not listed there is not ours to refuse: the address is the load balancer's.
    untouched(&client, at("203.0.113.9:54"))?;

    // Proxy: the load balancer wants to see the connection.
    world.apply(&balanced(&web(), &json!([{"ip": "203.0.113.9", "ipMode": "Proxy"}]))?)?;
    untouched(&client, at("203.0.113.9:53"))?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here", "there"])?;
    assert_eq!(held.peer()?, at("203.0.113.9:80"), "what is open goes on");
    ensure!(["here", "there"].contains(&held.server()?.as_str()), "what is open goes on");
    no_findings(world.agent())
}

#[test]
fn s05_clients_in_the_cluster_reach_all_endpoints_by_the_load_balancers_address() -> Result<()> {
    let world = World::new()?;
    let pods = pods(&world)?;
    let local = web().spec("externalTrafficPolicy", "Local").spec("internalTrafficPolicy", "Local");
    world.apply(&balanced(&local, &json!([{"ip": "203.0.113.9"}]))?)?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here"])?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["here", "there"])?;
    let candidates = |to: &str| -> Result<usize> {
        let explained = world.agent().ask(&["explain", "tcp", to])?;
        let all = explained["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(all.iter().filter(|candidate| candidate["in"] == true).count())
    };
    assert_eq!((candidates("10.96.0.10:80")?, candidates("203.0.113.9:80")?), (1, 2));
    // The policy changes: the address moves to the ClusterIP's slots and back.
    world.apply(&balanced(&web(), &json!([{"ip": "203.0.113.9"}]))?)?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here", "there"])?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["here", "there"])?;
    world.apply(&balanced(&local, &json!([{"ip": "203.0.113.9"}]))?)?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here"])?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["here", "there"])?;
    // Nobody is left.
    for empty in [slice("web"), slice_v6("web")] {
        world.apply(&empty.tcp(8080).udp(53).not_ready(&pods[0]).yaml())?;
    }
    tcp_refused(&client, at("203.0.113.9:80"))
}

#[test]
fn s14_two_services_share_an_address_port_by_port() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    let other = world.backend("other", &PORTS)?;
    world.apply(&slice("api").tcp(8080).endpoint(&other).yaml())?;
    let ingress = json!([{"ip": "203.0.113.9"}]);
    world.apply(&balanced(&web(), &ingress)?)?;
    world.apply(&balanced(&service("api").cluster_ip("10.96.0.11").tcp(81, 8080), &ingress)?)?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["here", "there"])?;
    tcp_reaches(&client, at("203.0.113.9:81"), &["other"])?;
    // Both want port 80: the first by name has it, and has it no more when it goes.
    world.apply(&balanced(&service("api").cluster_ip("10.96.0.11").tcp(80, 8080), &ingress)?)?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["other"])?;
    finding(world.agent(), "conflict", "Service/web", "status.loadBalancer.ingress")?;
    world.manifests().delete(&ObjectName::new("Service", "api"))?;
    tcp_reaches(&client, at("203.0.113.9:80"), &["here", "there"])?;
    no_findings(world.agent())
}

#[test]
fn s15_addresses_with_source_ranges_are_left_to_the_load_balancer() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    let ranges = web().spec("loadBalancerSourceRanges", json!(["192.0.2.0/24"]));
    world.apply(&balanced(&ranges, &json!([{"ip": "203.0.113.9"}]))?)?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here", "there"])?;
    untouched(&client, at("203.0.113.9:53"))?;
    finding(world.agent(), "unsupported", "Service/web", "spec.loadBalancerSourceRanges")?;
    Ok(())
}

#[test]
fn s16_external_ips_are_served_only_when_switched_on() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    world.apply(&web().spec("externalIPs", json!(["203.0.113.10"])).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["here", "there"])?;
    untouched(&client, at("203.0.113.10:53"))?;
    finding(world.agent(), "unsupported", "Service/web", "spec.externalIPs")?;

    world.agent().kill()?;
    world.agent().spawn_with(&["--external-ips"])?;
    world.agent().wait_ready()?;
    tcp_reaches(&client, at("203.0.113.10:80"), &["here", "there"])?;
    udp_reaches(&client, at("203.0.113.10:53"), &["here", "there"])?;
    no_findings(world.agent())?;
    // And off again: what an earlier agent served is taken back.
    world.agent().restart()?;
    untouched(&client, at("203.0.113.10:53"))
}
