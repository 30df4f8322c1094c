//! Connections that are idle for too long or too old are ended by the agent, and no others are.

use super::{Shop, at, tcp, udp};
use anyhow::{Result, ensure};
use mesh_tests::client::Connection;
use mesh_tests::expect::{counts, open, tcp_reaches};
use mesh_tests::manifest::{policy, service, slice};
use mesh_tests::wait::wait_for;
use mesh_tests::world::Agent;
use nix::libc::{ECONNABORTED, EPIPE};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(3);

/// Between two questions on a connection that is to go on.
const PAUSE: Duration = Duration::from_millis(50);

fn lasting(service: &str, connections: &Value) -> String {
    policy(("default", service), service, json!({"connections": connections})).to_string()
}

/// Waits until so many connections to `web` are open, `meanwhile` done each time.
fn waits_for(shop: &Shop, active: u64, meanwhile: impl Fn() -> Result<()>) -> Result<()> {
    wait_for(&format!("{active} connections to be open"), || {
        meanwhile()?;
        let seen = shop.world.agent().service("default", "web")?["active"].clone();
        ensure!(seen == active, "{seen}");
        Ok(())
    })
}

/// It was ended: its next question fails, a second one with EPIPE.
fn was_ended(connection: &Connection) {
    let error = connection.server().unwrap_err();
    assert!(error.raw_os_error().is_some_and(|errno| [ECONNABORTED, EPIPE].contains(&errno)), "{error}");
}

/// How many connections to `web` were ended for this reason, as `mesh service show` and the metrics say.
fn ended(agent: &Agent, reason: &str) -> Result<u64> {
    let shown = agent.ask(&["service", "show", "web"])?["ended"][reason].as_u64();
    Ok(shown.unwrap_or_default())
}

/// The events of connections to `web` with this reason.
fn events(agent: &Agent, reason: &str) -> Result<Vec<Value>> {
    let events = agent.command(&["events", "-o", "json"])?.output()?;
    let events = String::from_utf8(events.stdout)?;
    let all = events.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|event| event["reason"] == reason && event["service"]["name"] == "web").collect())
}

#[test]
fn what_is_idle_is_ended_what_speaks_is_not_and_nobody_else_is_asked() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    // The same pods by another Service, of which nothing is asked.
    shop.world.apply(&service("other").cluster_ip("10.96.0.11").tcp(80, 8080).yaml())?;
    shop.world.apply(&slice("other").tcp(8080).endpoints(&shop.pods).yaml())?;
    shop.world.apply(&lasting("web", &json!({"idleTimeoutSeconds": 3})))?;
    tcp_reaches(&shop.client, at("10.96.0.11:80"), &["web-1", "web-2"])?;
    let began = Instant::now();
    let quiet = [tcp(), at("[::ffff:10.96.0.10]:80"), at("[fd00:10:96::10]:80")].map(|to| shop.client.connect(to));
    let quiet = quiet.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (busy, other) = (shop.client.connect(tcp())?, shop.client.connect(at("10.96.0.11:80"))?);
    let datagrams = shop.client.connect_udp(udp())?;
    let agent = shop.world.agent();
    // TCP that speaks, and UDP.
    waits_for(&shop, 2, || Ok(busy.server().map(drop)?))?;
    assert!(began.elapsed() >= TIME, "too soon");
    quiet.iter().for_each(was_ended);
    assert_eq!(ended(agent, "idle-timeout")?, 3);
    let events = events(agent, "idle-timeout")?;
    assert!(events.len() == 3 && events.iter().all(|event| event["backend"].is_string()), "{events:?}");
    busy.server()?;
    other.server()?;
    datagrams.ask("who")?;
    // What has spoken is idle from then on.
    let spoke = Instant::now();
    waits_for(&shop, 1, || Ok(()))?;
    assert!(spoke.elapsed() + Duration::from_millis(100) >= TIME, "too soon after its last word");
    was_ended(&busy);
    other.server()?;
    drop(datagrams);
    counts(agent, "web", &[])
}

#[test]
fn what_is_old_is_ended_though_it_speaks_also_after_the_agent_was_killed() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let began = Instant::now();
    let held = [shop.client.connect(tcp())?, shop.client.connect(tcp())?];
    shop.world.apply(&lasting("web", &json!({"maxDurationSeconds": 600})))?;
    wait_for("the policy to be in force", || {
        let service = agent.service("default", "web")?;
        ensure!(service["maxDurationSeconds"] == 600, "{service}");
        Ok(())
    })?;
    held.iter().try_for_each(|one| one.server().map(drop))?;
    // Changed while there is no agent: the next one knows how old they are.
    agent.kill()?;
    shop.world.apply(&lasting("web", &json!({"maxDurationSeconds": 3})))?;
    agent.start()?;
    waits_for(&shop, 0, || {
        drop(held[0].server()); // it may be ended by now
        Ok(())
    })?;
    assert!(began.elapsed() >= TIME, "too soon");
    held.iter().for_each(was_ended);
    assert_eq!(ended(agent, "max-duration")?, 2);
    // The next ones are met in time, too.
    let opened = Instant::now();
    let next = shop.client.connect(tcp())?;
    waits_for(&shop, 0, || {
        drop(next.server());
        Ok(())
    })?;
    assert!(opened.elapsed() >= TIME, "too soon");
    was_ended(&next);
    // Nobody asks for it any more.
    shop.world.apply(&lasting("web", &json!({"maxDurationSeconds": 86_400})))?;
    let last = shop.client.connect(tcp())?;
    let opened = Instant::now();
    while opened.elapsed() < TIME + TIME / 2 {
        assert_eq!(last.server()?, "web-1");
        thread::sleep(PAUSE);
    }
    counts(agent, "web", &[("web-1", 1)])
}

#[test]
fn a_destination_rule_ends_what_is_idle_and_a_port_that_it_lists_inherits_nothing() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let rule = |traffic: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "web", "namespace": "default"}, "spec": {"host": "web", "trafficPolicy": traffic},
        })
        .to_string()
    };
    let idle = json!({"tcp": {"idleTimeout": "2.5s", "tcpKeepalive": {"time": "1s"}}});
    let listed = json!([{"port": {"number": 80}, "loadBalancer": {"simple": "ROUND_ROBIN"}}]);
    shop.world.apply(&rule(json!({"connectionPool": idle, "portLevelSettings": listed})))?;
    let agent = shop.world.agent();
    wait_for("the rule to be in force", || {
        let service = agent.service("default", "web")?;
        ensure!(service["idleTimeoutSeconds"] == 3, "{service}");
        Ok(())
    })?;
    let findings = agent.ask(&["policy", "show", "web"])?[0]["policyFindings"].clone();
    let fields: Vec<&str> = findings.as_array().into_iter().flatten().filter_map(|f| f["field"].as_str()).collect();
    assert_eq!(fields, ["spec.trafficPolicy.connectionPool.tcp.tcpKeepalive"]);
    let quiet = shop.client.connect(tcp())?;
    let opened = Instant::now();
    wait_for("twice the time to be over", || {
        ensure!(open(agent, "web")?.service == 1 && opened.elapsed() > TIME * 2, "{:?}", opened.elapsed());
        Ok(())
    })?;
    assert_eq!(quiet.server()?, "web-1");
    let spoke = Instant::now();
    shop.world.apply(&rule(json!({"connectionPool": idle})))?;
    waits_for(&shop, 0, || Ok(()))?;
    assert!(spoke.elapsed() + Duration::from_millis(100) >= TIME, "too soon");
    was_ended(&quiet);
    Ok(())
}
