//! Manifests as people write them: what is wrong with one is named and harms nothing else, and what changes is followed.

use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{finding, logged, no_findings, tcp_reaches, tcp_refused};
use mesh_tests::manifest::{limits, service, slice};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn web() -> SocketAddr {
    at("10.96.0.10:80")
}

/// The Service `web`, which a test breaks, the Service `other`, which must not notice, the agent and a client.
struct Two {
    world: World,
    pod: Pod,
    client: Client,
}

impl Two {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let pod = world.backend("web-1", &[Listen::tcp(8080)])?;
        let other = world.backend("other-1", &[Listen::tcp(8080)])?;
        world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
        world.apply(&slice("web").tcp(8080).endpoint(&pod).yaml())?;
        world.apply(&service("other").cluster_ip("10.96.0.11").tcp(80, 8080).yaml())?;
        world.apply(&slice("other").tcp(8080).endpoint(&other).yaml())?;
        world.agent().start()?;
        no_findings(world.agent())?;
        let client = world.client("client")?;
        Ok(Self { world, pod, client })
    }

    /// The bad object goes on with what it last meant, and the other does not notice.
    fn goes_on(&self) -> Result<()> {
        tcp_reaches(&self.client, web(), &["web-1"])?;
        tcp_reaches(&self.client, at("10.96.0.11:80"), &["other-1"])
    }

    /// A finding about an object in a file: it shows in status, in its health and in the log, and all goes on.
    fn is_named(&self, severity: &str, object: &str, field: &str, file: &str) -> Result<Value> {
        let said = finding(self.world.agent(), severity, object, field)?;
        ensure!(said["file"] == file && said["document"].is_number(), "{said}");
        let status = self.world.agent().status()?;
        // What waits for something that does not exist yet is nothing to repair.
        let health = if severity == "unresolved" { "ok" } else { "degraded" };
        ensure!(status["health"] == health, "{status}");
        logged(self.world.agent(), said["message"].as_str().context("a message")?)?;
        self.goes_on()?;
        Ok(said)
    }

    /// All is well again: nothing is found, and the health is ok.
    fn heals(&self) -> Result<()> {
        no_findings(self.world.agent())?;
        wait_for("the health to be ok", || {
            let status = self.world.agent().status()?;
            ensure!(status["health"] == "ok", "{status}");
            Ok(())
        })?;
        self.goes_on()
    }
}

#[test]
fn a_document_that_does_not_parse_is_named_by_file_and_line() -> Result<()> {
    let two = Two::new()?;
    two.world.manifests().write("broken.yaml", "kind: Service\nmetadata:\n  name: [web\nspec: {}\n")?;
    let said = two.is_named("rejected", "", "", "broken.yaml")?;
    ensure!(said["message"].as_str().is_some_and(|message| message.contains("line ")), "{said}");
    two.world.manifests().write("broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine}\n")?;
    two.heals()?;
    two.world.manifests().write("broken.json", "{\"kind\": \"Service\",\n")?;
    two.is_named("rejected", "", "", "broken.json")?;
    two.world.manifests().remove("broken.json")?;
    two.heals()
}

#[test]
fn a_broken_document_harms_neither_its_neighbours_nor_what_its_file_said() -> Result<()> {
    let two = Two::new()?;
    let file = "service.default.web.yaml";
    let good = fs::read_to_string(two.world.manifests().directory().join(file))?;
    two.world.manifests().write(file, &format!("{good}\n---\nkind: [\n"))?;
    two.is_named("rejected", "", "", file)?;
    // The whole file is broken: what it last meant goes on.
    two.world.manifests().write(file, "kind: [\n")?;
    two.is_named("rejected", "", "", file)?;
    two.world.manifests().write(file, &good)?;
    two.heals()
}

#[test]
fn a_port_that_is_none_is_named_with_its_field() -> Result<()> {
    let two = Two::new()?;
    let good = service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml();
    two.world.apply(&good.replace("\"port\":80,", "\"port\":70000,"))?;
    let said = two.is_named("rejected", "Service/web", "spec.ports[0].port", "service.default.web.yaml")?;
    ensure!(said["message"].to_string().contains("70000"), "{said}");
    two.world.apply(&good)?;
    two.heals()?;
    let slice_of = |port: &str| slice("web").tcp(8080).endpoint(&two.pod).yaml().replace("\"port\":8080", port);
    two.world.apply(&slice_of("\"port\":70000"))?;
    two.is_named("rejected", "EndpointSlice/web-v4", "ports[0].port", "endpointslice.default.web-v4.yaml")?;
    two.world.apply(&slice_of("\"port\":8080"))?;
    two.heals()
}

#[test]
fn an_endpoint_that_is_no_address_is_named_with_its_field() -> Result<()> {
    let two = Two::new()?;
    let good = slice("web").tcp(8080).endpoint(&two.pod);
    let bad = good.clone().endpoint(&two.pod).yaml();
    let address = two.pod.v4().to_string();
    let position = bad.rfind(&address).context("the second endpoint's address")?;
    let bad = format!("{}10.0.0.256{}", &bad[..position], &bad[position + address.len()..]);
    two.world.apply(&bad)?;
    let said = two.is_named(
        "rejected",
        "EndpointSlice/web-v4",
        "endpoints[1].addresses[0]",
        "endpointslice.default.web-v4.yaml",
    )?;
    ensure!(said["message"].to_string().contains("10.0.0.256"), "{said}");
    two.world.apply(&good.yaml())?;
    two.heals()
}

#[test]
fn a_policy_with_an_unknown_field_is_named_and_its_former_limit_goes_on() -> Result<()> {
    let two = Two::new()?;
    two.world.apply(&limits("web", Some(2), None))?;
    let limit = |limit: u64| {
        wait_for(&format!("a limit of {limit}"), || {
            let seen = two.world.agent().service("default", "web")?["maxConnections"].clone();
            ensure!(seen == limit, "{seen}");
            Ok(())
        })
    };
    limit(2)?;
    two.world.apply(&limits("web", Some(9), None).replace("maxConnections", "maxConections"))?;
    let file = "trafficpolicy.default.web-limits.yaml";
    let said = wait_for("the finding", || {
        let findings = mesh_tests::expect::findings(two.world.agent())?;
        let found = findings.iter().find(|f| f["severity"] == "rejected" && f["object"]["kind"] == "TrafficPolicy");
        found.cloned().with_context(|| format!("{findings:?}"))
    })?;
    ensure!(said["field"].as_str().is_some_and(|field| field.starts_with("spec.limits")), "{said}");
    two.is_named("rejected", "TrafficPolicy/web-limits", said["field"].as_str().unwrap_or_default(), file)?;
    ensure!(said.to_string().contains("maxConections"), "{said}");
    // A limit that is misspelt does not read as no limit.
    limit(2)?;
    let _held = two.client.connect_many(web(), 2)?;
    two.client.connect(web()).map(drop).unwrap_err();
    two.world.apply(&limits("web", Some(9), None))?;
    limit(9)?;
    two.heals()
}

#[test]
fn a_policy_without_its_target_waits_for_it() -> Result<()> {
    let two = Two::new()?;
    two.world.apply(&limits("late", Some(1), None))?;
    two.is_named(
        "unresolved",
        "TrafficPolicy/late-limits",
        "spec.targetRefs[0]",
        "trafficpolicy.default.late-limits.yaml",
    )?;
    two.world.apply(&slice("late").tcp(8080).endpoint(&two.pod).yaml())?;
    two.world.apply(&service("late").cluster_ip("10.96.0.12").tcp(80, 8080).yaml())?;
    tcp_reaches(&two.client, at("10.96.0.12:80"), &["web-1"])?;
    two.heals()?;
    let _held = two.client.connect(at("10.96.0.12:80"))?;
    two.client.connect(at("10.96.0.12:80")).map(drop).unwrap_err();
    Ok(())
}

#[test]
fn of_two_services_with_one_address_the_first_has_it() -> Result<()> {
    let two = Two::new()?;
    let thief = two.world.backend("thief-1", &[Listen::tcp(8080), Listen::tcp(8081)])?;
    two.world.apply(&slice("thief").tcp(8080).tcp(8081).endpoint(&thief).yaml())?;
    two.world.apply(&service("thief").cluster_ip("10.96.0.10").tcp(80, 8080).tcp(81, 8081).yaml())?;
    let said = two.is_named("conflict", "Service/thief", "spec.clusterIPs[0]", "service.default.thief.yaml")?;
    ensure!(said["message"].to_string().contains("default/web"), "{said}");
    // Its other port does not slip in either.
    tcp_refused(&two.client, at("10.96.0.10:81"))?;
    // The first goes: the other takes over.
    two.world.manifests().delete(&ObjectName::new("Service", "web"))?;
    tcp_reaches(&two.client, web(), &["thief-1"])?;
    tcp_reaches(&two.client, at("10.96.0.10:81"), &["thief-1"])?;
    no_findings(two.world.agent())
}

#[test]
fn of_two_documents_with_one_name_the_first_speaks() -> Result<()> {
    let two = Two::new()?;
    let second = service("web").cluster_ip("10.96.0.99").tcp(80, 8080).yaml();
    two.world.manifests().write("zz-copy.yaml", &second)?;
    let said = two.is_named("conflict", "Service/web", "metadata.name", "zz-copy.yaml")?;
    ensure!(said["message"].to_string().contains("service.default.web.yaml"), "{said}");
    // The first goes: the second speaks.
    two.world.manifests().remove("service.default.web.yaml")?;
    tcp_reaches(&two.client, at("10.96.0.99:80"), &["web-1"])?;
    no_findings(two.world.agent())?;
    two.world.manifests().remove("zz-copy.yaml")?;
    two.world.apply(&service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    two.heals()
}

#[test]
fn changes_are_followed_however_they_are_written() -> Result<()> {
    let two = Two::new()?;
    let directory = two.world.manifests().directory().to_owned();
    let path = directory.join("endpointslice.default.web-v4.yaml");
    let (full, empty) = (slice("web").tcp(8080).endpoint(&two.pod).yaml(), slice("web").tcp(8080).yaml());
    for _ in 0..5 {
        // By rename, in place, and removed.
        two.world.manifests().write("endpointslice.default.web-v4.yaml", &empty)?;
        tcp_refused(&two.client, web())?;
        fs::write(&path, &full)?;
        tcp_reaches(&two.client, web(), &["web-1"])?;
        fs::remove_file(&path)?;
        tcp_refused(&two.client, web())?;
        // As vim does: the old one aside, a new one, the old one away; with a swap file beside.
        fs::write(directory.join(".web.yaml.swp"), "kind: [")?;
        fs::write(&path, &full)?;
        tcp_reaches(&two.client, web(), &["web-1"])?;
        fs::rename(&path, directory.join("endpointslice.default.web-v4.yaml~"))?;
        fs::write(&path, &empty)?;
        fs::remove_file(directory.join("endpointslice.default.web-v4.yaml~"))?;
        tcp_refused(&two.client, web())?;
        fs::write(&path, &full)?;
        tcp_reaches(&two.client, web(), &["web-1"])?;
    }
    // In a directory that appears.
    let deep = directory.join("a/b");
    fs::create_dir_all(&deep)?;
    fs::rename(&path, deep.join("slice.yaml"))?;
    fs::write(deep.join("slice.yaml"), &empty)?;
    tcp_refused(&two.client, web())?;
    fs::write(deep.join("slice.yaml"), &full)?;
    two.heals()
}

#[test]
fn a_directory_that_vanishes_is_kept_until_it_is_back() -> Result<()> {
    let two = Two::new()?;
    let directory = two.world.manifests().directory().to_owned();
    let aside = directory.with_file_name("aside");
    fs::rename(&directory, &aside)?;
    wait_for("status to say that the directory is gone", || {
        let status = two.world.agent().status()?;
        ensure!(status["sources"][0]["error"].is_string() && status["health"] == "degraded", "{status}");
        Ok(())
    })?;
    two.goes_on()?;
    // What changes meanwhile is in force once it is back.
    fs::write(aside.join("endpointslice.default.web-v4.yaml"), slice("web").tcp(8080).yaml())?;
    fs::rename(&aside, &directory)?;
    tcp_refused(&two.client, web())?;
    two.world.apply(&slice("web").tcp(8080).endpoint(&two.pod).yaml())?;
    two.heals()
}
