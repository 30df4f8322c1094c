//! The agent fed by a real API server: it serves what the server holds, through every way in which the two lose sight of
//! each other.

use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::cluster::{ApiServer, destination_rules};
use mesh_tests::echo::Listen;
use mesh_tests::expect::{findings, tcp_reaches, tcp_refused};
use mesh_tests::manifest::{limits, service, slice};
use mesh_tests::wait::{wait_for, wait_for_within};
use mesh_tests::world::{Netns, Pod, World};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long until the agent looks again after errors, and all is as it was: it waits 7.5 s at most between two tries.
const RECOVERY: Duration = Duration::from_secs(45);

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn web() -> SocketAddr {
    at("10.96.0.10:80")
}

fn other() -> SocketAddr {
    at("10.96.0.11:80")
}

/// An API server with the Services `web` and `other`, two pods that can serve either, a client, and an agent that has
/// not been started.
struct Cluster {
    client: Client,
    pods: [Pod; 2],
    api: ApiServer,
    node: Netns,
    world: World,
}

impl Cluster {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let api = ApiServer::beside(&world)?;
        let pods = [world.backend("pod-1", &[Listen::tcp(8080)])?, world.backend("pod-2", &[Listen::tcp(8080)])?];
        let client = world.client("client")?;
        let node = world.host_pod("node")?.netns().clone();
        world.agent().follow(api.kubeconfig());
        let cluster = Self { client, pods, api, node, world };
        cluster.fill()?;
        Ok(cluster)
    }

    /// With the agent running.
    fn started() -> Result<Self> {
        let cluster = Self::new()?;
        cluster.world.agent().start()?;
        cluster.serves("web", &["pod-1"])?;
        cluster.serves("other", &["pod-2"])?;
        Ok(cluster)
    }

    fn fill(&self) -> Result<()> {
        self.api.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
        self.api.apply(&service("other").cluster_ip("10.96.0.11").tcp(80, 8080).yaml())?;
        self.endpoints("web", &[0])?;
        self.endpoints("other", &[1])
    }

    /// Has these pods serve a Service from now on.
    fn endpoints(&self, name: &str, pods: &[usize]) -> Result<()> {
        let pods = pods.iter().filter_map(|pod| self.pods.get(*pod));
        self.api.apply(&slice(name).tcp(8080).endpoints(pods).yaml())
    }

    /// Waits until these pods serve it, and no other.
    fn serves(&self, name: &str, pods: &[&str]) -> Result<()> {
        tcp_reaches(&self.client, if name == "web" { web() } else { other() }, pods)
    }

    /// Waits until the agent knows no such Service.
    fn is_gone(&self, name: &str) -> Result<()> {
        wait_for_within(RECOVERY, &format!("{name} to be gone"), || {
            let services = self.world.agent().ask(&["service", "list"])?;
            let found = services.as_array().is_some_and(|all| all.iter().any(|service| service["name"] == name));
            ensure!(!found, "{services}");
            Ok(())
        })
    }

    /// What `mesh status` says is wrong with the source.
    fn trouble(&self) -> Result<Option<String>> {
        Ok(self.world.agent().status()?["sources"][0]["error"].as_str().map(str::to_owned))
    }

    /// Waits until the agent says that it does not follow.
    fn is_away(&self) -> Result<String> {
        wait_for_within(RECOVERY, "the agent to miss the API server", || self.trouble()?.context("nothing is wrong"))
    }

    /// Waits until the agent follows.
    fn follows(&self) -> Result<()> {
        wait_for_within(RECOVERY, "the agent to follow the API server", || {
            let trouble = self.trouble()?;
            ensure!(trouble.is_none(), "{trouble:?}");
            Ok(())
        })
    }

    /// Pulls the API server's cable, or plugs it in again: what the agent sends does not arrive.
    fn plug(&self, plugged: bool) -> Result<()> {
        let IpAddr::V4(address) = self.api.place().addresses()[0] else { anyhow::bail!("IPv4 comes first") };
        let [_, _, high, low] = address.octets();
        let link = format!("pod{}", u16::from_be_bytes([high, low]));
        self.node.ip(&format!("link set {link} {}\n", if plugged { "master pods" } else { "nomaster" }))
    }
}

#[test]
fn what_the_api_server_holds_is_served_and_every_change_followed() -> Result<()> {
    let cluster = Cluster::started()?;
    let source = cluster.world.agent().status()?["sources"][0].take();
    ensure!(source["name"].as_str().is_some_and(|name| name.starts_with(&cluster.api.url())), "{source}");
    ensure!(source["error"].is_null() && source["synced"] == true, "{source}");

    cluster.endpoints("web", &[0, 1])?;
    cluster.serves("web", &["pod-1", "pod-2"])?;
    cluster.endpoints("web", &[1])?;
    cluster.serves("web", &["pod-2"])?;
    cluster.api.kubectl().delete(&["endpointslice", "web-v4"])?;
    tcp_refused(&cluster.client, web())?;
    cluster.api.kubectl().delete(&["service", "web"])?;
    cluster.is_gone("web")?;
    cluster.serves("other", &["pod-2"])
}

#[test]
fn pods_reach_the_api_server_by_its_own_service() -> Result<()> {
    let cluster = Cluster::started()?;
    let authority = cluster.api.authority().display().to_string();
    let pod = cluster.world.pod("asking")?;
    let said = wait_for("the Service kubernetes to be served", || {
        let url = "https://10.96.0.1/version";
        pod.run("curl", &["--silent", "--show-error", "--fail", "--max-time", "5", "--cacert", &authority, url])
    })?;
    ensure!(said.contains("gitVersion"), "{said}");
    Ok(())
}

#[test]
fn while_the_api_server_is_away_the_last_state_serves_also_after_the_agent_was_killed() -> Result<()> {
    let cluster = Cluster::started()?;
    cluster.api.server().kill()?;
    let trouble = cluster.is_away()?;
    ensure!(trouble.contains("not followed since"), "{trouble}");
    cluster.serves("web", &["pod-1"])?;

    let agent = cluster.world.agent();
    agent.kill()?;
    agent.spawn()?;
    let pid = agent.id()?.as_raw();
    wait_for("the new agent to answer", || {
        let status = agent.status()?;
        ensure!(status["pid"] == pid && status["sources"][0]["error"].is_string(), "{status}");
        ensure!(status["sources"][0]["synced"] == false && status["health"] == "starting", "{status}");
        Ok(())
    })?;
    cluster.serves("web", &["pod-1"])?;

    cluster.api.server().start()?;
    cluster.api.wait_ready()?;
    cluster.follows()?;
    agent.wait_ready()?;
    cluster.endpoints("web", &[0, 1])?;
    cluster.serves("web", &["pod-1", "pod-2"])?;
    ensure!(agent.id()?.as_raw() == pid, "it is the same agent");
    Ok(())
}

#[test]
fn what_was_deleted_while_the_agent_was_away_is_taken_back() -> Result<()> {
    let cluster = Cluster::started()?;
    cluster.world.agent().stop()?;
    cluster.api.kubectl().delete(&["service", "web"])?;
    cluster.endpoints("other", &[0])?;
    cluster.world.agent().start()?;
    cluster.is_gone("web")?;
    cluster.serves("other", &["pod-1"])
}

#[test]
fn what_changed_unseen_and_was_compacted_is_caught_up_with() -> Result<()> {
    let cluster = Cluster::started()?;
    let raw = cluster.api.kubectl().run(&["get", "--raw", "/api/v1/services?limit=1"])?;
    let raw: serde_json::Value = serde_json::from_str(&raw)?;
    let before = raw["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();

    // The agent has lost it, and cannot see it while all of this goes on.
    cluster.api.server().kill()?;
    cluster.is_away()?;
    cluster.plug(false)?;
    cluster.api.server().start()?;
    cluster.api.wait_ready()?;
    cluster.api.kubectl().delete(&["service", "web"])?;
    cluster.endpoints("other", &[0])?;
    cluster.api.etcd().compact()?;
    cluster.api.restart()?;
    let watch = format!("/api/v1/services?watch=1&timeoutSeconds=1&resourceVersion={before}");
    let said = cluster.api.kubectl().run(&["get", "--raw", &watch]).unwrap_or_else(|error| error.to_string());
    ensure!(["410", "Expired", "too old"].iter().any(|word| said.contains(word)), "{said}");
    cluster.serves("web", &["pod-1"])?;
    cluster.serves("other", &["pod-2"])?;

    cluster.plug(true)?;
    cluster.is_gone("web")?;
    cluster.serves("other", &["pod-1"])?;
    cluster.follows()
}

#[test]
fn a_cluster_that_begins_anew_is_followed() -> Result<()> {
    let cluster = Cluster::started()?;
    cluster.api.wipe()?;
    cluster.api.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    cluster.endpoints("web", &[1])?;
    cluster.is_gone("other")?;
    cluster.serves("web", &["pod-2"])?;
    cluster.follows()
}

#[test]
fn traffic_policies_count_once_their_definition_is_there_and_as_long_as_it_is() -> Result<()> {
    let cluster = Cluster::started()?;
    ensure!(cluster.trouble()?.is_none(), "that it is not installed is no error");
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/mesh/crds/trafficpolicies.yaml");
    let definition = fs::read_to_string(&definition).with_context(|| format!("read {}", definition.display()))?;
    cluster.api.apply(&definition)?;

    // The server takes a moment to serve the kind.
    wait_for("the policies to be written", || {
        cluster.api.apply(&limits("web", Some(0), None))?;
        cluster.api.apply(&limits("nobody", Some(1), None))
    })?;
    wait_for_within(RECOVERY, "the policy to be read", || {
        let refused = cluster.client.connect(web()).is_err();
        ensure!(refused, "it connects");
        Ok(())
    })?;
    tcp_refused(&cluster.client, web())?;
    wait_for("the policy of nobody to be named", || {
        let findings = findings(cluster.world.agent())?;
        let named = findings.iter().any(|f| f["severity"] == "unresolved" && f["object"]["name"] == "nobody-limits");
        ensure!(named, "{findings:?}");
        Ok(())
    })?;

    cluster.api.kubectl().delete(&["crd", "trafficpolicies.mesh.dev"])?;
    cluster.serves("web", &["pod-1"])?;
    wait_for_within(RECOVERY, "the findings to go", || {
        let findings = findings(cluster.world.agent())?;
        ensure!(findings.is_empty(), "{findings:?}");
        Ok(())
    })?;
    cluster.follows()
}

#[test]
fn a_destination_rule_of_each_version_is_in_force_and_told() -> Result<()> {
    let cluster = Cluster::started()?;
    cluster.api.apply(&destination_rules()?)?;
    for (version, most) in [("v1", 1), ("v1alpha3", 2), ("v1beta1", 3)] {
        let rule = format!(
            "{{apiVersion: networking.istio.io/{version}, kind: DestinationRule, metadata: {{name: web, namespace: default}}, \
             spec: {{host: web, trafficPolicy: {{tls: {{mode: SIMPLE}}, connectionPool: {{tcp: {{maxConnections: {most}}}}}}}}}}}"
        );
        wait_for("the rule to be written", || cluster.api.apply(&rule))?;
        wait_for_within(RECOVERY, &format!("{most} connections at most, by {version}"), || {
            let held = (0..most).map(|_| cluster.client.connect(web())).collect::<std::io::Result<Vec<_>>>()?;
            ensure!(held.len() == most && cluster.client.connect(web()).is_err(), "more than {most}");
            Ok(())
        })?;
    }
    let rule = wait_for_within(RECOVERY, "the rule to be told what is not served", || {
        let rule = cluster.api.kubectl().get(&["destinationrules", "web"])?;
        let conditions = rule["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions.iter().find(|one| one["type"] == "mesh.dev/Unsupported");
        let message = told.and_then(|told| told["message"].as_str());
        ensure!(message.is_some_and(|message| message.contains("trafficPolicy.tls")), "{rule}");
        Ok(rule)
    })?;
    ensure!(rule["apiVersion"] == "networking.istio.io/v1", "the server prefers {}", rule["apiVersion"]);
    Ok(())
}
