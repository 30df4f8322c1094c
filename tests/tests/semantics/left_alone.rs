//! Pods that another mesh serves: 32.

use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::{Listen, Transport};
use mesh_tests::expect::{no_findings, tcp_reaches, udp_reaches};
use mesh_tests::manifest::{service, slice};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{NODE_NAME, World};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

fn at(port: u16) -> SocketAddr {
    ([10, 96, 0, 10], port).into()
}

/// The world with a Service and a server behind it.
fn world() -> Result<World> {
    let world = World::new()?;
    let server = world.backend("web-1", &PORTS)?;
    world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).udp(53, 53).yaml())?;
    world.apply(&slice("web").tcp(8080).udp(53).endpoint(&server).yaml())?;
    Ok(world)
}

/// A pod's object. The kubelet names its cgroup `pod<uid>`.
fn object(name: &str, labels: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": labels},
        "spec": {"nodeName": NODE_NAME, "containers": []},
    })
    .to_string()
}

/// Nobody has the ClusterIP, and the node says so.
fn untranslated(client: &Client) -> Result<()> {
    let untranslated = || match client.connect(at(80)).map(drop) {
        Err(error) if matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_for("connections to be left alone", untranslated)?;
    // The kernel hears of it with the second SYN, after a second.
    for _ in 0..2 {
        ensure!(untranslated().is_ok(), "now and then one is translated");
    }
    // Not refused by a program either: a port that the Service does not list goes its way, too.
    match client.connect(at(81)).map(drop) {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

fn left_alone(world: &World) -> Result<Value> {
    Ok(world.agent().status()?["leftAlone"].clone())
}

#[test]
fn s32_a_labelled_pod_is_left_alone_and_no_other() -> Result<()> {
    let world = world()?;
    world.apply(&object("left", &json!({"mesh.dev/data-plane": "none"})))?;
    let (left, other) = (world.client("poduid-left")?, world.client("poduid-other")?);
    world.apply(&object("other", &json!({})))?;
    world.agent().start()?;
    tcp_reaches(&other, at(80), &["web-1"])?;
    untranslated(&left)?;
    let sent = left.udp()?.ask_at(at(53), "who");
    ensure!(sent.is_err(), "{sent:?}");
    assert_eq!(left_alone(&world)?, json!(["default/left"]));

    // The label goes: it is served. And comes, while a socket is connected: that one goes on.
    world.apply(&object("left", &json!({})))?;
    tcp_reaches(&left, at(80), &["web-1"])?;
    udp_reaches(&left, at(53), &["web-1"])?;
    let held = left.connect(at(80))?;
    world.apply(&object("left", &json!({"mesh.dev/data-plane": "none"})))?;
    untranslated(&left)?;
    assert_eq!((held.peer()?, held.server()?.as_str()), (at(80), "web-1"));

    // Without an agent it is as it was; the next one learns what changed meanwhile.
    world.agent().kill()?;
    untranslated(&left)?;
    world.apply(&object("left", &json!({})))?;
    world.apply(&object("other", &json!({"linkerd.io/control-plane-ns": "linkerd"})))?;
    world.agent().start()?;
    tcp_reaches(&left, at(80), &["web-1"])?;
    untranslated(&other)?;
    world.manifests().delete(&ObjectName::new("Pod", "other"))?;
    tcp_reaches(&other, at(80), &["web-1"])?;
    no_findings(world.agent())
}

#[test]
fn s32_a_namespace_speaks_for_its_pods_and_for_those_that_come_later() -> Result<()> {
    let world = world()?;
    let namespace = |labels: Value| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}}).to_string()
    };
    world.apply(&namespace(json!({"mesh.dev/data-plane": "none"})))?;
    world.apply(&object("early", &json!({})))?;
    world.apply(&object("late", &json!({})))?;
    world.apply(&object("served", &json!({"mesh.dev/data-plane": "mesh"})))?;
    let (early, served) = (world.client("poduid-early")?, world.client("poduid-served")?);
    world.agent().start()?;
    untranslated(&early)?;
    tcp_reaches(&served, at(80), &["web-1"])?;
    assert_eq!(left_alone(&world)?, json!(["default/early", "default/late (not found)"]));
    // The cgroup of a pod comes after its object.
    let late = world.client("poduid-late")?;
    untranslated(&late)?;
    // A host pod is told apart from the others in the host's network.
    world.apply(&object("host", &json!({})))?;
    let (host, other) = (world.host_pod("poduid-host")?.client()?, world.host_pod("host-other")?.client()?);
    untranslated(&host)?;
    tcp_reaches(&other, at(80), &["web-1"])?;
    mesh_tests::expect::reaches(&other, Transport::Udp, at(53), &["web-1"])?;
    world.apply(&namespace(json!({})))?;
    for client in [&early, &late, &host] {
        tcp_reaches(client, at(80), &["web-1"])?;
    }
    no_findings(world.agent())
}

#[test]
fn s32_a_labelled_service_is_left_alone_for_everybody() -> Result<()> {
    let world = world()?;
    let mut web: Value = serde_json::from_str(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    web["metadata"]["labels"]["mesh.dev/data-plane"] = "none".into();
    world.apply(&web.to_string())?;
    world.agent().start()?;
    untranslated(&world.client("client")?)?;
    assert_eq!(world.agent().service("default", "web")?["state"], "ignored");
    Ok(())
}
