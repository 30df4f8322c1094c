//! The control plane: from ordinary manifests to pods, addresses and `EndpointSlices`.

use anyhow::Result;
use mesh_tests::control_plane::{ControlPlane, PodState};
use mesh_tests::object::{Object, ObjectName};
use mesh_tests::world::World;
use serde_json::Value;
use std::path::Path;

/// What the agent would read of one object.
fn read(world: &World, kind: &str, name: &str) -> Option<Value> {
    let file = world.manifests().directory().join(format!("{kind}.shop.{name}.yaml"));
    file.exists().then(|| Object::read(&file).unwrap().remove(0).value)
}

/// The endpoints of a slice as `pod ready/serving/terminating`.
fn endpoints(world: &World, slice: &str) -> Vec<String> {
    let slice = read(world, "endpointslice", slice).unwrap_or_default();
    let of = |e: &Value| {
        let c = &e["conditions"];
        format!("{} {}/{}/{}", e["targetRef"]["name"].as_str().unwrap(), c["ready"], c["serving"], c["terminating"])
    };
    slice["endpoints"].as_array().into_iter().flatten().map(of).collect()
}

#[test]
fn the_shop_comes_up() -> Result<()> {
    let world = World::new()?;
    let mut shop = ControlPlane::new(&world)?;
    shop.apply(&Object::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/shop"))?)?;
    let client = world.client("client")?;
    // Every endpoint answers on the port that its slice says, in each family.
    let mut reached = Vec::new();
    for object in Object::read(world.manifests().directory())? {
        if object.name.kind != "EndpointSlice" {
            continue;
        }
        for endpoint in object.value["endpoints"].as_array().into_iter().flatten() {
            let address: std::net::IpAddr = endpoint["addresses"][0].as_str().unwrap().parse()?;
            for port in object.value["ports"].as_array().into_iter().flatten() {
                let to = (address, u16::try_from(port["port"].as_u64().unwrap())?);
                let udp = port["protocol"] == "UDP";
                let tally = if udp { client.tally_udp(to, 1)? } else { client.tally(to, 1)? };
                assert_eq!(tally.answers[endpoint["targetRef"]["name"].as_str().unwrap()], 1);
                reached.push(object.name.name.clone());
            }
        }
    }
    let count = |slice: &str| reached.iter().filter(|name| *name == slice).count();
    assert_eq!((count("web-ipv4-1"), count("cart-ipv4-1"), count("dns-ipv4-1"), count("payment-ipv4-1")), (3, 4, 4, 2));
    assert_eq!((count("catalogue-ipv4-1"), count("catalogue-ipv6-1"), reached.len()), (2, 2, 17));
    assert_eq!(read(&world, "service", "cart").unwrap()["spec"]["clusterIPs"][0], "10.96.0.20");
    assert_eq!(read(&world, "service", "catalogue").unwrap()["spec"]["clusterIPs"].as_array().unwrap().len(), 2);
    assert!(read(&world, "trafficpolicy", "payment").is_some());
    assert!(read(&world, "deployment", "payment").is_none());
    Ok(())
}

#[test]
fn endpoints_follow_the_pods() -> Result<()> {
    let world = World::new()?;
    let mut shop = ControlPlane::new(&world)?;
    let web = ObjectName::namespaced("Deployment", "shop", "web");
    shop.apply_text(include_str!("../../lab/shop/web.yaml"))?;
    assert_eq!(
        endpoints(&world, "web-ipv4-1"),
        ["web-1 true/true/false", "web-2 true/true/false", "web-3 true/true/false"]
    );
    shop.set_state("web-1", PodState::Terminating)?;
    shop.set_state("web-2", PodState::NotReady)?;
    assert_eq!(endpoints(&world, "web-ipv4-1")[..2], ["web-1 false/true/true", "web-2 false/false/false"]);
    shop.end("web-1")?;
    assert_eq!(endpoints(&world, "web-ipv4-1"), ["web-2 false/false/false", "web-3 true/true/false"]);
    shop.reconcile()?;
    assert_eq!(endpoints(&world, "web-ipv4-1")[2], "web-4 true/true/false");
    shop.scale(&web, 1)?;
    assert_eq!(endpoints(&world, "web-ipv4-1"), ["web-2 false/false/false"]);
    shop.scale(&web, 0)?;
    assert_eq!(endpoints(&world, "web-ipv4-1"), Vec::<String>::new());
    assert!(read(&world, "endpointslice", "web-ipv4-1").is_some(), "a Service without pods has an empty slice");
    Ok(())
}

#[test]
fn a_port_that_only_the_service_names_is_served() -> Result<()> {
    let world = World::new()?;
    let mut plane = ControlPlane::new(&world)?;
    plane.apply_text(
        "
{kind: Deployment, metadata: {name: app, namespace: shop}, spec: {template: {metadata: {labels: {app: app}}, spec: {containers: [{name: c}]}}}}
---
{kind: Service, metadata: {name: app, namespace: shop}, spec: {selector: {app: app}, ports: [{port: 80, targetPort: 3000}]}}
---
{kind: Service, metadata: {name: db, namespace: shop}, spec: {ports: [{port: 5432}]}}
",
    )?;
    let pod = &plane.pods()[0];
    assert_eq!(world.client("client")?.tally(pod.pod.at(3000), 1)?.answers["app-1"], 1);
    assert!(read(&world, "endpointslice", "db-ipv4-1").is_none(), "without a selector the author writes the slices");
    Ok(())
}

#[test]
fn nothing_is_done_when_one_object_is_wrong() -> Result<()> {
    let world = World::new()?;
    let mut plane = ControlPlane::new(&world)?;
    let error = plane
        .apply_text(
            "{kind: ConfigMap, metadata: {name: fine}}\n---\n\
             {kind: Service, metadata: {name: web}, spec: {ports: [{port: 70000}]}}\n",
        )
        .unwrap_err()
        .to_string();
    let expected =
        "the text applied: document 2: Service default/web: `spec.ports[0].port`: 70000 is no port; use 1 to 65535";
    assert_eq!(error, expected);
    assert_eq!(plane.services().count() + plane.pods().len() + plane.published().count(), 1, "only the node is there");
    Ok(())
}
