//! Which endpoints take connections: 1 to 4, 8 and 9.

use anyhow::Result;
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{counts, tcp_reaches, tcp_refused};
use mesh_tests::manifest::{Slice, service, slice};
use mesh_tests::world::{NODE_NAME, Pod, World};
use serde_json::{Value, json};
use std::net::SocketAddr;

const FRONTEND: &str = "10.96.0.10:80";

/// A Service `web` with three pods, none of them in its slice yet, and a client.
struct Web {
    world: World,
    frontend: SocketAddr,
    pods: [Pod; 3],
    client: Client,
}

impl Web {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let pod = |name| world.backend(name, &[Listen::tcp(8080)]);
        let pods = [pod("web-1")?, pod("web-2")?, pod("web-3")?];
        world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
        let client = world.client("client")?;
        Ok(Self { frontend: FRONTEND.parse()?, pods, client, world })
    }

    fn start(self) -> Result<Self> {
        self.world.agent().start()?;
        Ok(self)
    }

    /// Puts the slice before the agent and waits until exactly these pods are reached; nobody means refused.
    fn expect(&self, slice: &Slice, reached: &[&str]) -> Result<()> {
        self.world.apply(&slice.yaml())?;
        self.expect_now(reached)
    }

    fn expect_now(&self, reached: &[&str]) -> Result<()> {
        match reached {
            [] => tcp_refused(&self.client, self.frontend),
            reached => tcp_reaches(&self.client, self.frontend, reached),
        }
    }
}

fn web() -> Slice {
    slice("web").tcp(8080)
}

#[test]
fn s01_ready_endpoints_then_those_that_serve_while_terminating() -> Result<()> {
    let web_service = Web::new()?.start()?;
    let [a, b, c] = &web_service.pods;
    web_service.expect(&web().endpoint(a).endpoint(b).not_ready(c), &["web-1", "web-2"])?;
    // Absent conditions mean ready.
    web_service.expect(&web().endpoint_with(a, &json!({})).not_ready(b), &["web-1"])?;
    web_service.expect(&web().endpoint(a).terminating(b, true).terminating(c, false), &["web-1"])?;
    // None is ready: those that terminate and still serve stand in, and never one that does not serve.
    web_service.expect(&web().not_ready(a).terminating(b, true).terminating(c, false), &["web-2"])?;
    web_service.expect(&web().not_ready(a).terminating(b, true).terminating(c, true), &["web-2", "web-3"])?;
    web_service.expect(&web().not_ready(a).terminating(b, false), &[])?;
    web_service.expect(&web().endpoints([a, b, c]), &["web-1", "web-2", "web-3"])
}

#[test]
fn s01_the_fallback_to_terminating_endpoints_is_decided_by_scope() -> Result<()> {
    let web_service = Web::new()?;
    web_service
        .world
        .apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).spec("internalTrafficPolicy", "Local").yaml())?;
    let web_service = web_service.start()?;
    let [a, b, c] = &web_service.pods;
    // Elsewhere one is ready; here the terminating one stands in all the same.
    let elsewhere = ready_on("node-2");
    web_service.expect(&web().terminating(a, true).endpoint_with(b, &elsewhere), &["web-1"])?;
    web_service.expect(&web().terminating(a, true).endpoint_with(b, &elsewhere).endpoint(c), &["web-3"])
}

#[test]
fn s02_connections_to_a_terminating_or_removed_endpoint_go_on() -> Result<()> {
    let web_service = Web::new()?;
    let [a, b, _] = &web_service.pods;
    web_service.world.apply(&web().endpoint(a).yaml())?;
    web_service.world.agent().start()?;
    let held = web_service.client.connect(web_service.frontend)?;
    assert_eq!(held.server()?, "web-1");

    web_service.expect(&web().terminating(a, true).endpoint(b), &["web-2"])?;
    assert_eq!(held.server()?, "web-1");
    web_service.expect(&web().endpoint(b), &["web-2"])?;
    assert_eq!(held.server()?, "web-1");
    assert_eq!(held.peer()?, web_service.frontend);
    // It comes back: the connection that went on is counted with the new ones.
    web_service.expect(&web().endpoint(a).endpoint(b), &["web-1", "web-2"])?;
    assert_eq!(held.server()?, "web-1");
    counts(web_service.world.agent(), "web", &[("web-1", 1)])?;
    held.close()?;
    counts(web_service.world.agent(), "web", &[])
}

fn ready_on(node: &str) -> Value {
    json!({"nodeName": node, "conditions": {"ready": true}})
}

fn hinted(zones: &[&str], nodes: &[&str]) -> Value {
    let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    json!({"conditions": {"ready": true}, "hints": {"forZones": named(zones), "forNodes": named(nodes)}})
}

fn node_in(zone: &str) -> String {
    let labels = json!({"topology.kubernetes.io/zone": zone});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}).to_string()
}

#[test]
fn s03_zone_hints_are_followed_when_every_endpoint_has_one_and_one_matches() -> Result<()> {
    let web_service = Web::new()?;
    web_service.world.apply(&node_in("zone-a"))?;
    let manifest = service("web").cluster_ip("10.96.0.10").tcp(80, 8080);
    web_service.world.apply(&manifest.clone().spec("trafficDistribution", "PreferSameZone").yaml())?;
    let web_service = web_service.start()?;
    let [a, b, c] = &web_service.pods;
    let hints = |zone: &str| hinted(&[zone], &[]);
    let three = |x: &Value, y: &Value, z: &Value| web().endpoint_with(a, x).endpoint_with(b, y).endpoint_with(c, z);
    web_service.expect(&three(&hints("zone-a"), &hints("zone-a"), &hints("zone-b")), &["web-1", "web-2"])?;
    let both = hinted(&["zone-b", "zone-a"], &[]);
    web_service.expect(&three(&both, &hints("zone-b"), &hints("zone-b")), &["web-1"])?;
    // One has none, or none matches: all of them.
    web_service.expect(&three(&hints("zone-a"), &hints("zone-b"), &json!({})), &["web-1", "web-2", "web-3"])?;
    let all_b = three(&hints("zone-b"), &hints("zone-b"), &hints("zone-b"));
    web_service.expect(&all_b, &["web-1", "web-2", "web-3"])?;
    // The node moves: what is in force follows without a change of the Service.
    web_service.world.apply(&three(&hints("zone-a"), &hints("zone-b"), &hints("zone-c")).yaml())?;
    web_service.expect_now(&["web-1"])?;
    web_service.world.apply(&node_in("zone-c"))?;
    web_service.expect_now(&["web-3"])?;
    // The old name means the same.
    web_service.world.apply(&manifest.spec("trafficDistribution", "PreferClose").yaml())?;
    web_service.expect_now(&["web-3"])
}

#[test]
fn s03_node_hints_come_before_zone_hints() -> Result<()> {
    let web_service = Web::new()?;
    web_service.world.apply(&node_in("zone-a"))?;
    let manifest = service("web").cluster_ip("10.96.0.10").tcp(80, 8080);
    web_service.world.apply(&manifest.spec("trafficDistribution", "PreferSameNode").yaml())?;
    let web_service = web_service.start()?;
    let [a, b, c] = &web_service.pods;
    let hints = |node: &str| hinted(&["zone-a"], &[node]);
    let three = |x: &Value, y: &Value, z: &Value| web().endpoint_with(a, x).endpoint_with(b, y).endpoint_with(c, z);
    web_service.expect(&three(&hints(NODE_NAME), &hints("node-2"), &hints("node-3")), &["web-1"])?;
    // None names this node: the zone decides, and of these all.
    let far = hinted(&["zone-b"], &["node-3"]);
    web_service.expect(&three(&hints("node-2"), &hints("node-2"), &far), &["web-1", "web-2"])?;
    // One has no node hint: the zone decides.
    let zone_only = hinted(&["zone-a"], &[]);
    web_service.expect(&three(&hints(NODE_NAME), &zone_only, &far), &["web-1", "web-2"])?;
    web_service.expect(&three(&hints(NODE_NAME), &json!({}), &far), &["web-1", "web-2", "web-3"])
}

#[test]
fn s04_internal_traffic_policy_local_stays_on_the_node() -> Result<()> {
    let web_service = Web::new()?;
    let manifest = service("web").cluster_ip("10.96.0.10").tcp(80, 8080);
    web_service.world.apply(&manifest.clone().spec("internalTrafficPolicy", "Local").yaml())?;
    let web_service = web_service.start()?;
    let [a, b, c] = &web_service.pods;
    let elsewhere = ready_on("node-2");
    web_service.expect(&web().endpoint(a).endpoint_with(b, &elsewhere).endpoint(c), &["web-1", "web-3"])?;
    // None here: never sent away.
    web_service.expect(&web().endpoint_with(a, &elsewhere).endpoint_with(b, &elsewhere).not_ready(c), &[])?;
    web_service.world.apply(&manifest.yaml())?;
    web_service.expect_now(&["web-1", "web-2"])
}

#[test]
fn s08_endpoints_published_before_they_are_ready_are_served() -> Result<()> {
    let web_service = Web::new()?;
    web_service
        .world
        .apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).spec("publishNotReadyAddresses", true).yaml())?;
    let web_service = web_service.start()?;
    let [a, b, _] = &web_service.pods;
    // The control plane marks them ready, whatever the pod says; serving tells the truth.
    let published = json!({"conditions": {"ready": true, "serving": false, "terminating": false}});
    web_service.expect(&web().endpoint_with(a, &published), &["web-1"])?;
    let terminating = json!({"conditions": {"ready": true, "serving": false, "terminating": true}});
    web_service.expect(&web().endpoint_with(a, &published).endpoint_with(b, &terminating), &["web-1", "web-2"])
}

#[test]
fn s09_named_ports_may_differ_between_slices() -> Result<()> {
    let world = World::new()?;
    let (a, b) = (world.backend("web-1", &[Listen::tcp(8080)])?, world.backend("web-2", &[Listen::tcp(9090)])?);
    world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    let port = |name: &str, port| slice("web").named(name).port("tcp-8080", "TCP", port);
    world.apply(&port("web-old", 8080).endpoint(&a).yaml())?;
    world.apply(&port("web-new", 9090).endpoint(&b).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, FRONTEND.parse()?, &["web-1", "web-2"])
}

#[test]
fn s09_duplicates_count_once_and_fqdn_slices_are_ignored() -> Result<()> {
    let web_service = Web::new()?;
    let [a, b, _] = &web_service.pods;
    for name in ["web-x", "web-y", "web-z"] {
        web_service.world.apply(&web().named(name).endpoint(a).yaml())?;
    }
    web_service.world.apply(&web().named("web-other").endpoint(b).yaml())?;
    let mut names: Value = serde_json::from_str(&web().named("web-names").yaml())?;
    names["addressType"] = "FQDN".into();
    names["endpoints"] = json!([{"addresses": ["web.example.com"], "conditions": {"ready": true}}]);
    web_service.world.apply(&names.to_string())?;
    let web_service = web_service.start()?;
    web_service.expect_now(&["web-1", "web-2"])?;
    // Two slots and not four: each has half of the connections. 100 of 400 is 10 standard deviations away.
    let tally = web_service.client.tally(web_service.frontend, 400)?;
    assert!(tally.answers.values().all(|&share| (100..=300).contains(&share)), "{tally:?}");
    Ok(())
}
