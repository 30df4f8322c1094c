//! The real API server of a world: it keeps what it is given through every misfortune that chaos tests bring upon it.

use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::Api;
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{service, slice};
use mesh_tests::world::World;
use serde_json::Value;

fn uid(api: &Api, object: &str) -> Result<Option<String>> {
    let found = api.get(object)?;
    found.map(|found| found["metadata"]["uid"].as_str().map(str::to_owned).context("a uid")).transpose()
}

#[test]
fn objects_outlive_the_api_servers_death_and_a_compaction_but_not_a_wipe() -> Result<()> {
    let world = World::new()?;
    let api = Api::start(&world)?;
    let pod = world.backend("web-1", &[Listen::tcp(8080)])?;
    let web = service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml();
    let endpoints = slice("web").tcp(8080).endpoint(&pod).yaml();
    api.apply(&web)?;
    api.apply(&endpoints)?;
    let before = uid(&api, &web)?.context("a Service")?;
    let found = api.get(&endpoints)?.context("an EndpointSlice")?;
    assert_eq!(found["endpoints"][0]["addresses"][0], pod.v4().to_string());
    assert!(api.kubectl(&["get", "services", "-o", "name"])?.contains("service/web"));

    api.server().kill()?;
    api.server().start()?;
    api.wait_ready()?;
    api.compact()?;
    assert_eq!(uid(&api, &web)?, Some(before.clone()));

    api.server().pause()?;
    api.server().resume()?;
    api.wait_ready()?;
    api.delete(&endpoints)?;
    api.delete(&endpoints)?;
    assert_eq!(api.get(&endpoints)?, None);

    api.wipe()?;
    assert_eq!(uid(&api, &web)?, None);
    api.apply(&web)?;
    let after = uid(&api, &web)?.context("a Service")?;
    ensure!(before != after, "{before}");
    Ok(())
}

#[test]
fn a_node_has_its_status_and_pods_reach_the_api_server() -> Result<()> {
    let world = World::new()?;
    let api = Api::start(&world)?;
    let node = "{apiVersion: v1, kind: Node, metadata: {name: node-1}, \
                status: {addresses: [{type: InternalIP, address: 10.244.0.1}]}}";
    api.apply(node)?;
    let found = api.get(node)?.context("a Node")?;
    assert_eq!(found["status"]["addresses"][0]["address"], "10.244.0.1");
    let pod = world.pod("client")?;
    let said = pod.run("curl", &["--silent", "--insecure", "--max-time", "10", "https://10.244.0.1:6443/version"])?;
    let version: Value = serde_json::from_str(&said)?;
    ensure!(version["major"] == "1", "{said}");
    Ok(())
}
