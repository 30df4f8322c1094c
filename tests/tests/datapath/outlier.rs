//! Backends that fail are ejected after as many failures as the policy says, and come back by themselves: with and without
//! an agent.

use super::tcp;
use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{policy, service, slice};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Agent, Pod, World};
use nix::libc::{ECONNREFUSED, ECONNRESET, EPIPE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// `web` with pods that serve, and one more, `bad`, whatever that does on port 8080.
pub(super) struct Scene {
    pub world: World,
    /// The pods that serve.
    pub pods: Vec<Pod>,
    pub bad: Pod,
    pub client: Client,
}

impl Scene {
    pub fn with(healthy: usize, detection: &Value) -> Result<Self> {
        let world = World::new()?;
        let pods: Vec<Pod> =
            (1..=healthy).map(|n| world.backend(&format!("web-{n}"), &[Listen::tcp(8080)])).collect::<Result<_>>()?;
        let bad = world.pod("bad")?;
        world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
        world.apply(&slice("web").tcp(8080).endpoints(pods.iter().chain([&bad])).yaml())?;
        world.apply(&detecting(detection))?;
        world.agent().start()?;
        let client = world.client("client")?;
        Ok(Self { world, pods, bad, client })
    }

    pub fn agent(&self) -> &Agent {
        self.world.agent()
    }

    /// Connects and asks, `times` times; who answered how often, and how often nobody did.
    pub fn visit(&self, times: u32) -> Result<(BTreeMap<String, u32>, u32)> {
        let tally = self.client.tally(tcp(), times)?;
        let expected = [ECONNREFUSED, ECONNRESET, EPIPE];
        ensure!(tally.errors.keys().all(|errno| expected.contains(errno)), "{tally:?}");
        Ok((tally.answers.clone(), tally.failed()))
    }

    /// Visits until the bad pod was met so often that it is out; says how often that was.
    pub fn visit_until_ejected(&self) -> Result<u32> {
        let (_, failed) = self.visit(200)?;
        let (answers, more) = self.visit(100)?;
        ensure!(more == 0 && answers.values().sum::<u32>() == 100, "after {failed} failures {more} more: {answers:?}");
        Ok(failed)
    }
}

pub(super) fn detecting(detection: &Value) -> String {
    policy(("default", "web"), "web", json!({"outlierDetection": detection})).to_string()
}

/// What `mesh explain` says of the backends of `web`, by pod: whether it is in, and why.
pub(super) fn explained(agent: &Agent) -> Result<BTreeMap<String, (bool, String)>> {
    let explanation = agent.ask(&["explain", "tcp", "10.96.0.10:80"])?;
    let of = |backend: &Value| {
        let text = |name: &str| Some(backend[name].as_str()?.to_owned());
        Some((text("pod")?, (backend["in"].as_bool()?, text("why")?)))
    };
    Ok(explanation["backends"].as_array().context("backends")?.iter().filter_map(of).collect())
}

/// How many backends of `web` are ejected, as `mesh backend list` says.
pub(super) fn ejected(agent: &Agent) -> Result<usize> {
    let backends = agent.ask(&["backend", "list"])?;
    Ok(backends.as_array().context("a list")?.iter().filter(|backend| backend["state"] == "ejected").count())
}

#[test]
fn a_backend_that_refuses_is_out_after_as_many_failures_and_back_by_itself_without_an_agent() -> Result<()> {
    let scene = Scene::with(4, &json!({"consecutiveFailures": 3, "baseEjectionSeconds": 3, "maxEjectionSeconds": 3}))?;
    assert_eq!(scene.visit_until_ejected()?, 3);
    // The healthy ones share what it does not take.
    let (answers, failed) = scene.visit(400)?;
    assert!(failed == 0 && answers.values().all(|count| (60..=140).contains(count)), "{answers:?}");
    scene.agent().kill()?;
    wait_for("it to be tried again, and out again", || {
        let (_, failed) = scene.visit(100)?;
        ensure!(failed == 3, "{failed} failures");
        Ok(())
    })?;
    // It serves again before it is back.
    let _server = scene.bad.serve(&[Listen::tcp(8080)])?;
    wait_for("it to be back", || {
        let (answers, failed) = scene.visit(100)?;
        ensure!(failed == 0 && answers.get("bad").is_some_and(|count| *count >= 5), "{failed}: {answers:?}");
        Ok(())
    })
}

#[test]
fn an_ejection_is_an_event_a_metric_and_a_line_of_explain() -> Result<()> {
    let scene = Scene::with(3, &json!({"consecutiveFailures": 4}))?;
    assert_eq!(scene.visit_until_ejected()?, 4);
    let agent = scene.agent();
    let explained = explained(agent)?;
    let (is_in, why) = &explained["bad"];
    assert!(!is_in && why.starts_with("ejected for another ") && why.contains("after 4 consecutive failures"), "{why}");
    assert_eq!(explained.values().filter(|(is_in, _)| *is_in).count(), 3);
    assert_eq!(ejected(agent)?, 1);
    assert_eq!(agent.ask(&["service", "show", "web"])?["reasons"]["ejected"], 1);
    let explanation = agent.ask(&["explain", "tcp", "10.96.0.10:80"])?;
    let notes = explanation["notes"].to_string();
    assert!(notes.contains("1 of at most 2 backends of the Service are ejected"), "{notes}");
    let events = agent.command(&["events", "-o", "json"])?.output()?;
    let events = String::from_utf8(events.stdout)?;
    let bad = format!("{}", scene.bad.at(8080));
    let is_ejection = |line: &&str| line.contains("\"reason\":\"ejected\"") && line.contains(&bad);
    assert_eq!(events.lines().filter(is_ejection).count(), 1, "{events}");
    Ok(())
}

/// A server that resets each connection.
const RESETS: &str = "
import socket, struct
server = socket.create_server(('', 8080))
print('ready', flush=True)
while True:
    connection, _ = server.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()
";

#[test]
fn a_backend_that_accepts_and_resets_is_out_though_each_handshake_succeeds() -> Result<()> {
    let scene = Scene::with(3, &json!({"consecutiveFailures": 3}))?;
    let _server = scene.bad.start("python3", &["-c".to_owned(), RESETS.to_owned()])?;
    assert_eq!(scene.visit_until_ejected()?, 3);
    let why = &explained(scene.agent())?["bad"].1;
    assert!(why.contains("3 consecutive failures: reset soon after the handshake"), "{why}");
    Ok(())
}

#[test]
fn a_backend_that_answers_no_syn_is_out_and_only_its_own_clients_waited() -> Result<()> {
    let scene = Scene::with(3, &json!({"consecutiveFailures": 3, "baseEjectionSeconds": 60}))?;
    let drop = "table inet hole { chain in { type filter hook input priority 0 ; tcp dport 8080 drop ; } ; }";
    scene.bad.run("nft", &[drop])?;
    // A client that waits 1.5 s.
    let script = "
import socket
failed = 0
for _ in range(40):
    s = socket.socket()
    s.settimeout(1.5)
    try:
        s.connect(('10.96.0.10', 80))
    except OSError:
        failed += 1
    s.close()
print(failed)
";
    let patient = scene.world.pod("patient")?;
    assert_eq!(patient.python(script)?.trim(), "3");
    assert_eq!(patient.python(script)?.trim(), "0");
    assert!(explained(scene.agent())?["bad"].1.contains("refused or unanswered"));
    let (answers, failed_now) = scene.visit(120)?;
    assert!(failed_now == 0 && answers.values().all(|count| (20..=60).contains(count)), "{answers:?}");
    Ok(())
}

#[test]
fn never_more_are_ejected_than_the_policy_allows_and_all_serve_when_all_fail() -> Result<()> {
    // Five of six refuse; two may be out.
    let scene = Scene::with(
        1,
        &json!({"consecutiveFailures": 1, "baseEjectionSeconds": 1, "maxEjectionSeconds": 1, "maxEjectionPercent": 40}),
    )?;
    let pods: Vec<Pod> = (1..5).map(|n| scene.world.pod(&format!("bad-{n}"))).collect::<Result<_>>()?;
    let good = scene.world.backend("good", &[Listen::tcp(8080)])?;
    let all: Vec<Pod> = pods.iter().cloned().chain([scene.bad.clone(), good]).collect();
    scene.world.apply(&slice("web").tcp(8080).endpoints(&all).yaml())?;
    let agent = scene.agent();
    wait_for("six backends", || {
        ensure!(explained(agent)?.len() == 6);
        Ok(())
    })?;
    let clients: Vec<Client> = (0..4).map(|n| scene.world.client(&format!("client-{n}"))).collect::<Result<_>>()?;
    thread::scope(|scope| -> Result<()> {
        let storm: Vec<_> = clients.iter().map(|client| scope.spawn(|| client.tally(tcp(), 3_000))).collect();
        let mut most = 0;
        while storm.iter().any(|thread| !thread.is_finished()) {
            most = most.max(ejected(agent)?);
        }
        assert_eq!(most, 2);
        for thread in storm {
            let tally = thread.join().expect("no panic")?;
            ensure!(tally.answers.len() == 1 && tally.errors.keys().eq([&ECONNREFUSED]), "{tally:?}");
        }
        Ok(())
    })?;
    // With only those that refuse, the client is refused by them, not by mesh.
    scene.world.apply(&detecting(&json!({"consecutiveFailures": 1, "maxEjectionPercent": 100})))?;
    scene.world.apply(&slice("web").tcp(8080).endpoints(&pods).yaml())?;
    wait_for("four backends, all out", || {
        scene.client.tally(tcp(), 20)?;
        ensure!(explained(agent)?.len() == 4 && ejected(agent)? == 4);
        Ok(())
    })?;
    let before = agent.service("default", "web")?;
    assert_eq!(scene.client.tally(tcp(), 50)?.failed(), 50);
    let after = agent.service("default", "web")?;
    assert_eq!(
        (&after["refused"], after["opened"].as_u64().map(|n| n - 50)),
        (&before["refused"], before["opened"].as_u64())
    );
    Ok(())
}

#[test]
fn what_is_ejected_stays_so_over_a_restart_and_counts_no_more_once_it_is_gone() -> Result<()> {
    let scene =
        Scene::with(3, &json!({"consecutiveFailures": 2, "baseEjectionSeconds": 600, "maxEjectionSeconds": 600}))?;
    scene.visit_until_ejected()?;
    let agent = scene.agent();
    agent.kill()?;
    agent.start()?;
    assert_eq!(ejected(agent)?, 1);
    assert_eq!(scene.visit(200)?.1, 0);
    // Its endpoint goes, and another fails: there is room for it.
    let pods: Vec<Pod> = vec![scene.world.backend("new-1", &[Listen::tcp(8080)])?, scene.world.pod("new-2")?];
    scene.world.apply(&slice("web").tcp(8080).endpoints(&pods).yaml())?;
    wait_for("the new ones", || {
        ensure!(explained(agent)?.len() == 2);
        Ok(())
    })?;
    assert_eq!(ejected(agent)?, 0);
    assert_eq!(scene.visit_until_ejected()?, 2);
    assert_eq!(ejected(agent)?, 1);
    Ok(())
}

/// A policy with an algorithm, that ejects after two failures for ten minutes.
fn by(algorithm: &str) -> Value {
    let detection = json!({"consecutiveFailures": 2, "baseEjectionSeconds": 600, "maxEjectionSeconds": 600});
    let wishes = json!({"loadBalancer": {"algorithm": algorithm}, "outlierDetection": detection});
    policy(("default", "web"), "web", wishes)
}

#[test]
fn each_algorithm_goes_on_among_those_that_are_left() -> Result<()> {
    let scene =
        Scene::with(4, &json!({"consecutiveFailures": 2, "baseEjectionSeconds": 600, "maxEjectionSeconds": 600}))?;
    assert_eq!(scene.visit_until_ejected()?, 2);
    let in_force = |algorithm: &str| -> Result<()> {
        scene.world.apply(&by(algorithm).to_string())?;
        wait_for(algorithm, || {
            ensure!(scene.agent().service("default", "web")?["algorithm"] == algorithm);
            Ok(())
        })
    };
    // By turns the lap is one shorter, and exact: also for what is out when the policy changes.
    in_force("RoundRobin")?;
    let (answers, failed) = scene.visit(40)?;
    assert!(failed == 0 && answers.len() == 4 && answers.values().all(|count| *count == 10), "{answers:?}");
    in_force("LeastConnections")?;
    let (answers, failed) = scene.visit(200)?;
    assert!(
        failed == 0 && answers.len() == 4 && answers.values().all(|count| (20..=80).contains(count)),
        "{answers:?}"
    );
    // A client keeps one backend, also the one whose own is out.
    in_force("Maglev")?;
    for number in 0..10 {
        let tally = scene.world.client(&format!("other-{number}"))?.tally(tcp(), 20)?;
        ensure!(tally.failed() == 0 && tally.answers.len() == 1, "{tally:?}");
    }
    Ok(())
}

/// How often the agent brought a backend of `web` back.
fn returned(agent: &Agent) -> Result<u64> {
    agent.ask(&["service", "show", "web"])?["returned"].as_u64().context("a count")
}

#[test]
fn an_ejected_backend_that_answers_the_agent_is_back_before_its_time() -> Result<()> {
    let long = json!({"consecutiveFailures": 3, "baseEjectionSeconds": 600});
    let scene = Scene::with(4, &long)?;
    assert_eq!(scene.visit_until_ejected()?, 3);
    let mut probing = long;
    probing["healthCheck"] = json!({"intervalSeconds": 1});
    scene.world.apply(&detecting(&probing))?;
    let explained =
        || Ok::<_, anyhow::Error>(scene.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?["notes"].to_string());
    wait_for("the health check to be in force", || {
        let notes = explained()?;
        ensure!(notes.contains("asks ejected backends every 1 s"), "{notes}");
        Ok(())
    })?;
    // It refuses the agent, too.
    let (answers, failed) = scene.visit(100)?;
    assert!(failed == 0 && !answers.contains_key("bad"), "{failed}: {answers:?}");
    let _server = scene.bad.serve(&[Listen::tcp(8080)])?;
    wait_for("it to be back", || {
        let (answers, failed) = scene.visit(100)?;
        ensure!(failed == 0 && answers.get("bad").is_some_and(|count| *count >= 5), "{failed}: {answers:?}");
        Ok(())
    })?;
    assert_eq!((returned(scene.agent())?, ejected(scene.agent())?), (1, 0));
    Ok(())
}

#[test]
fn a_backend_that_is_out_for_resets_is_not_brought_back_by_a_handshake() -> Result<()> {
    let health_check = json!({"intervalSeconds": 1});
    let scene =
        Scene::with(3, &json!({"consecutiveFailures": 3, "baseEjectionSeconds": 600, "healthCheck": health_check}))?;
    let _server = scene.bad.start("python3", &["-c".to_owned(), RESETS.to_owned()])?;
    assert_eq!(scene.visit_until_ejected()?, 3);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let (answers, failed) = scene.visit(20)?;
        assert!(failed == 0 && !answers.contains_key("bad"), "{failed}: {answers:?}");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((returned(scene.agent())?, ejected(scene.agent())?), (0, 1));
    Ok(())
}

#[test]
fn a_destination_rule_ejects_by_istios_words() -> Result<()> {
    let scene = Scene::with(4, &json!({"consecutiveFailures": 100}))?;
    scene.world.manifests().delete(&ObjectName::new("TrafficPolicy", "web"))?;
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"host": "web", "trafficPolicy": {"outlierDetection": {
            "consecutive5xxErrors": 4, "baseEjectionTime": "2s", "interval": "1s", "maxEjectionPercent": 20,
        }}},
    });
    scene.world.apply(&rule.to_string())?;
    wait_for("the rule to be in force", || {
        let service = scene.agent().service("default", "web")?;
        ensure!(service["policyKind"] == "DestinationRule" && service["state"] == "served", "{service}");
        Ok(())
    })?;
    assert_eq!(scene.visit_until_ejected()?, 4);
    assert!(explained(scene.agent())?["bad"].1.contains("4 consecutive failures"));
    Ok(())
}
