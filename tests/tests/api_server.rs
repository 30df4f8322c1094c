//! The real API server beside a world: reached from its node, killed, paused, compacted, wiped, and gone afterwards.

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ListParams};
use mesh_tests::cluster::ApiServer;
use mesh_tests::manifest;
use mesh_tests::wait::wait_for;
use mesh_tests::world::World;
use std::fs;

fn names(api: &ApiServer) -> Result<Vec<String>> {
    api.with_client(|client| async {
        let listed = Api::<Service>::default_namespaced(client).list(&ListParams::default()).await?;
        Ok(listed.items.into_iter().filter_map(|service| service.metadata.name).collect())
    })
}

#[test]
fn objects_outlive_a_killed_api_server_and_not_a_wipe() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    api.apply(&manifest::service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    assert_eq!(names(&api)?, ["kubernetes", "web"]);

    api.restart()?;
    assert_eq!(names(&api)?, ["kubernetes", "web"]);

    api.wipe()?;
    wait_for("its own Service to be made anew", || {
        let names = names(&api).map_err(|error| format!("{error:#}"))?;
        if names == ["kubernetes"] { Ok(()) } else { Err(format!("{names:?}")) }
    })
}

#[test]
fn the_node_and_pods_of_the_world_reach_it() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    let authority = api.authority().display().to_string();
    let url = format!("{}/version", api.url());
    for pod in [world.host_pod("host")?, world.pod("pod")?] {
        let said = pod.run("curl", &["--silent", "--show-error", "--fail", "--cacert", &authority, &url])?;
        assert!(said.contains("gitVersion"), "{said}");
    }
    Ok(())
}

#[test]
fn paused_it_says_nothing_and_resumed_it_goes_on() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    api.server().pause()?;
    let error = api.kubectl().run(&["get", "services", "--request-timeout=1s"]).unwrap_err().to_string();
    assert!(error.contains("imeout") || error.contains("deadline"), "{error}");
    api.server().resume()?;
    assert_eq!(names(&api)?, ["kubernetes"]);
    Ok(())
}

#[test]
fn a_watch_from_before_a_compaction_is_gone() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    let listed = api.kubectl().run(&["get", "--raw", "/api/v1/services?limit=1"])?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    let before = listed["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    for number in 0..3 {
        api.kubectl().run(&["create", "service", "clusterip", &format!("s-{number}"), "--tcp=80"])?;
    }
    let now = api.etcd().compact()?;
    assert!(now > before.parse()?, "{now} {before}");
    api.restart()?;
    let watch = format!("/api/v1/services?watch=1&timeoutSeconds=1&resourceVersion={before}");
    let said = api.kubectl().run(&["get", "--raw", &watch]).unwrap_or_else(|error| error.to_string());
    assert!(said.contains("410") || said.contains("Expired") || said.contains("too old"), "{said}");
    Ok(())
}

#[test]
fn nothing_of_it_stays_with_or_without_a_panic() -> Result<()> {
    let world = World::new()?;
    let (place, cgroup) = (world.home().path(""), world.home().cgroup()?);
    let api = ApiServer::beside(&world)?;
    let processes = [api.server().id()?, api.etcd().id()?];
    let panicked = std::thread::spawn(move || {
        let _both = (api, world);
        panic!("as a failing test does");
    });
    assert!(panicked.join().is_err());
    for process in processes {
        assert!(!fs::exists(format!("/proc/{process}"))?, "{process} runs");
    }
    assert!(!place.exists() && !cgroup.exists(), "{} {}", place.display(), cgroup.display());
    Ok(())
}
