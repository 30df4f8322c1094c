//! Addresses besides the ClusterIP, for clients in the cluster: 5, 14 to 16.

use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{finding, no_findings, refusals, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{Service, service, slice, slice_v6};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Addresses, NODE_NAME, Pod, World};
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

/// A pod's object with an address. The kubelet names its cgroup `pod<uid>`, so the world's pod is called that.
fn pod_object(pod: &Pod) -> String {
    let (uid, ips) = (pod.name().trim_start_matches("pod"), json!([{"ip": pod.v4()}, {"ip": pod.v6()}]));
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {"nodeName": NODE_NAME, "containers": []}, "status": {"podIPs": ips},
    })
    .to_string()
}

#[test]
fn s15_source_ranges_hold_at_the_load_balancers_address_and_only_there() -> Result<()> {
    let world = World::new()?;
    let _pods = pods(&world)?;
    let (inside, outside) = (world.pod("poduid-inside")?, world.pod("poduid-outside")?);
    let ingress = json!([{"ip": "203.0.113.9"}, {"ip": "2001:db8::9"}]);
    let fenced = |ranges: &Value| balanced(&web().spec("loadBalancerSourceRanges", ranges.clone()), &ingress);
    world.apply(&fenced(&json!([format!("{}/32", inside.v4()), " 192.0.2.0/24 "]))?)?;
    world.apply(&pod_object(&outside))?;
    world.agent().start()?;
    let (client, other, host) = (inside.client()?, outside.client()?, world.host_pod("host")?.client()?);
    let (to, to_v6) = (at("203.0.113.9:80"), at("[2001:db8::9]:80"));
    // A pod that the agent does not know has no address yet, so it is not in range.
    tcp_refused(&client, to)?;
    world.apply(&pod_object(&inside))?;
    tcp_reaches(&client, to, &["here", "there"])?;
    udp_reaches(&client, at("203.0.113.9:53"), &["here", "there"])?;
    client.udp()?.ask_at(at("203.0.113.9:53"), "who")?;
    let before = refusals(world.agent(), "source-range")?;
    for refused in [&other, &host] {
        tcp_refused(refused, to)?;
        let error = refused.udp()?.send_to(at("203.0.113.9:53"), "hello").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ECONNREFUSED));
        tcp_reaches(refused, at("10.96.0.10:80"), &["here", "there"])?;
        // No range is of IPv6: that family is open, as with kube-proxy.
        tcp_reaches(refused, to_v6, &["here", "there"])?;
    }
    ensure!(refusals(world.agent(), "source-range")? >= before + 44);
    let from = |address: String| -> Result<Value> {
        world.agent().ask(&["explain", "tcp", "203.0.113.9:80", "--from", &address])
    };
    assert_eq!(from(inside.v4().to_string())?["outcome"], "balanced");
    assert_eq!(from(outside.v4().to_string())?["reason"], "source-range");

    // The node is in range; then only IPv6 is fenced; then nothing is.
    let addresses = json!([{"type": "InternalIP", "address": Addresses::NODE.v4.to_string()}]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME}, "status": {"addresses": addresses}});
    world.apply(&node.to_string())?;
    world.apply(&fenced(&json!([format!("{}/32", Addresses::NODE.v4)]))?)?;
    tcp_reaches(&host, to, &["here", "there"])?;
    tcp_refused(&client, to)?;
    world.apply(&fenced(&json!([format!("{}/128", outside.v6())]))?)?;
    tcp_reaches(&other, to_v6, &["here", "there"])?;
    tcp_refused(&client, to_v6)?;
    tcp_reaches(&client, to, &["here", "there"])?;
    // An agent that is killed leaves it in force, and the next one keeps it.
    world.agent().kill()?;
    tcp_refused(&client, to_v6)?;
    world.agent().start()?;
    tcp_refused(&client, to_v6)?;
    tcp_reaches(&other, to_v6, &["here", "there"])?;
    world.apply(&balanced(&web(), &ingress)?)?;
    tcp_reaches(&client, to_v6, &["here", "there"])?;
    no_findings(world.agent())
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
