//! N connections get through, from whomever, and no N+1st.

use super::{CLUSTER_IP, OTHER, PORT, Scene, is_refused, limits, wishes};
use anyhow::{Context, Result, ensure};
use mesh_tests::manifest::slice;
use nix::libc::{ECONNREFUSED, ECONNRESET};
use serde_json::json;

#[test]
fn n_get_through_from_whomever_and_the_next_is_refused_at_its_syn() -> Result<()> {
    n_get_through(&Scene::new(Some(3))?)
}

/// With a limit of 3.
pub(super) fn n_get_through(scene: &Scene) -> Result<()> {
    let (at, outsider) = (scene.at(), &scene.outsider);
    let pod = scene.world.client("client")?;
    let through_service = pod.connect((CLUSTER_IP.parse::<std::net::IpAddr>()?, 80))?;
    let mut held = vec![outsider.connect(at)?, pod.connect(at)?];
    ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    scene.counts(3)?;
    for _ in 0..5 {
        is_refused(outsider, at);
        is_refused(&pod, at);
    }
    // Its other port, and the other family, are other backends.
    ensure!(outsider.connect(scene.backend.at(OTHER))?.server()? == "web-1");
    let held_v6 = outsider.connect_many(scene.backend.at_v6(PORT), 3)?;
    ensure!(held_v6.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    is_refused(outsider, scene.backend.at_v6(PORT));
    // One goes, one comes, and not two.
    for _ in 0..10 {
        held.pop().context("one of two")?.close()?;
        scene.counts(2)?;
        held.push(outsider.connect(at)?);
        is_refused(&pod, at);
    }
    drop(through_service);
    scene.counts(2)?;
    ensure!(scene.packets("inbound-limit")? == 21, "{}", scene.packets("inbound-limit")?);
    ensure!(scene.packets("inbound-race")? == 0);
    Ok(())
}

#[test]
fn a_limit_is_moved_live_and_connections_of_before_count() -> Result<()> {
    let scene = Scene::new(None)?;
    let (at, outsider) = (scene.at(), &scene.outsider);
    ensure!(scene.inbound(scene.backend.v4())?.is_null());
    let mut held = outsider.connect_many(at, 4)?;
    // Below what is open: nobody is ended, and nobody is let in. What was open before counts from its next segment.
    scene.world.apply(&limits(3))?;
    scene.in_force(3)?;
    for connection in &held {
        ensure!(connection.server()? == "web-1");
    }
    scene.counts(4)?;
    is_refused(outsider, at);
    held.pop().context("one of four")?.close()?;
    scene.counts(3)?;
    is_refused(outsider, at);
    held.pop().context("one of three")?.close()?;
    scene.counts(2)?;
    held.push(outsider.connect(at)?);
    is_refused(outsider, at);
    // Up.
    scene.world.apply(&limits(5))?;
    scene.in_force(5)?;
    held.extend(outsider.connect_many(at, 2)?);
    is_refused(outsider, at);
    // Away, and back again.
    scene.world.apply(&wishes(&json!({"maxConnections": 1000})))?;
    scene.wait(scene.backend.v4(), "no limit", serde_json::Value::is_null)?;
    held.extend(outsider.connect_many(at, 5)?);
    scene.world.apply(&limits(0))?;
    scene.in_force(0)?;
    is_refused(outsider, at);
    for connection in &held {
        ensure!(connection.server()? == "web-1");
    }
    scene.counts(10)?;
    drop(held);
    scene.counts(0)
}

#[test]
fn in_mode_observe_nobody_is_refused_and_all_that_would_be_are_counted() -> Result<()> {
    let scene = Scene::new(None)?;
    let observed = |mode: &str| wishes(&json!({"maxInboundConnectionsPerBackend": 2, "mode": mode}));
    scene.world.apply(&observed("Observe"))?;
    scene.in_force(2)?;
    let held = scene.outsider.connect_many(scene.at(), 5)?;
    scene.counts(5)?;
    let inbound = scene.inbound(scene.backend.v4())?;
    ensure!(inbound["observe"] == true && inbound["refused"] == 3, "{inbound}");
    ensure!(scene.packets("observed-inbound-limit")? == 3 && scene.packets("inbound-limit")? == 0);
    scene.world.apply(&observed("Enforce"))?;
    scene.wait(scene.backend.v4(), "to be enforced", |inbound| inbound["observe"] == false)?;
    is_refused(&scene.outsider, scene.at());
    drop(held);
    scene.counts(0)
}

#[test]
fn what_is_not_at_this_node_or_has_no_limit_has_no_programs() -> Result<()> {
    let scene = Scene::new(Some(1))?;
    let elsewhere = scene.world.outsider("web-2")?;
    let fields = json!({"nodeName": "node-2"});
    scene.world.apply(&slice("web").tcp(PORT).endpoint(&scene.backend).endpoint_with(&elsewhere, &fields).yaml())?;
    scene.wait(elsewhere.v4(), "no count", serde_json::Value::is_null)?;
    scene.in_force(1)?;
    let error = scene.outsider.connect(elsewhere.at(PORT)).map(drop).unwrap_err();
    ensure!(matches!(error.raw_os_error(), Some(ECONNREFUSED | ECONNRESET)), "{error}");
    Ok(())
}

/// What `mesh plan` says of the manifests with this limit: the estimate and its words.
fn planned(scene: &Scene, limits: &serde_json::Value) -> Result<(serde_json::Value, String)> {
    let folder = scene.world.home().path("planned");
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(scene.world.manifests().directory())? {
        let entry = entry?;
        std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    // In place of the policy in force, which has this file.
    std::fs::write(folder.join("trafficpolicy.default.web-limits.yaml"), wishes(limits))?;
    let arguments = ["plan", "--manifests", folder.to_str().context("a path")?];
    let plan = scene.world.agent().ask(&arguments)?;
    let text = scene.world.agent().command(&arguments)?.output()?.stdout;
    Ok((plan["changes"][0]["inboundEstimate"].clone(), String::from_utf8(text)?))
}

#[test]
fn a_plan_says_what_a_limit_would_do_to_what_is_open_at_the_backend() -> Result<()> {
    let scene = Scene::new(None)?;
    let pod = scene.world.client("client")?;
    let through_service = pod.connect_many((CLUSTER_IP.parse::<std::net::IpAddr>()?, 80), 4)?;
    let outside = scene.outsider.connect_many(scene.at(), 5)?;
    // Without a limit those from outside are not counted.
    let (estimate, text) = planned(&scene, &json!({"maxInboundConnectionsPerBackend": 3}))?;
    assert_eq!(estimate, json!({"refused": 1, "of": 4, "observed": false, "atLeast": true}));
    let words = "would refuse at least 1 of 4 connections at backends on this node";
    ensure!(text.contains(words), "{text}");
    // With one, or with one that observes, all are.
    scene.world.apply(&wishes(&json!({"maxInboundConnectionsPerBackend": 20, "mode": "Observe"})))?;
    scene.in_force(20)?;
    for connection in through_service.iter().chain(&outside) {
        ensure!(connection.server()? == "web-1");
    }
    scene.counts(9)?;
    let (estimate, text) = planned(&scene, &json!({"maxInboundConnectionsPerBackend": 3}))?;
    assert_eq!(estimate, json!({"refused": 6, "of": 9, "observed": false, "atLeast": false}));
    ensure!(text.contains("would refuse about 6 of 9 connections at backends on this node"), "{text}");
    let (estimate, text) = planned(&scene, &json!({"maxInboundConnectionsPerBackend": 5, "mode": "Observe"}))?;
    assert_eq!(estimate["refused"], 4, "{estimate}");
    ensure!(text.contains("would observe about 4 of 9 connections"), "{text}");
    Ok(())
}
