//! DestinationRules as Istio itself defines them, on a real API server: what is told on them, and what they may say.

use super::{Stage, Teller, eventually, finding, tell};
use anyhow::{Context, Result, ensure};
use kube::Client;
use mesh_tests::cluster::{ApiServer, Kubectl, destination_rules};
use mesh_tests::wait::wait_for;
use mesh_tests::world::World;
use mesh_userspace::model::{Finding, Kind, ObjectRef, Severity};
use mesh_userspace::report::Report;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// The versions of the kind that Istio serves. They are one schema.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

/// All fields of a condition of ours.
const FIELDS: [&str; 6] = ["lastTransitionTime", "message", "observedGeneration", "reason", "status", "type"];

/// What Istio writes of a rule: a condition, and what its analysers say.
const THEIRS: &str = r#"{"status": {
    "conditions": [{"type": "Reconciled", "status": "True", "observedGeneration": "1", "message": "2/2 proxies up to date"}],
    "validationMessages": [{"type": {"name": "Deprecated", "code": "IST0002"}, "level": "WARNING"}],
    "observedGeneration": "1"}}"#;

/// Whether a condition is ours.
fn is_ours(condition: &Value) -> bool {
    condition["type"].as_str().is_some_and(|type_| type_.starts_with("mesh.dev/"))
}

/// Runs kubectl beside what else this thread does.
async fn kubectl(kubectl: &Kubectl, arguments: &[&str], input: &str) -> Result<String> {
    let (kubectl, input) = (kubectl.clone(), input.to_owned());
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || kubectl.run_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    tokio::task::spawn_blocking(run).await.context("kubectl's thread")?
}

/// A rule that was written in one version.
struct Written {
    kubectl: Kubectl,
    version: &'static str,
    object: ObjectRef,
}

impl Written {
    async fn write(kubectl_: &Kubectl, version: &'static str) -> Result<Self> {
        let object = ObjectRef { kind: Kind::DestinationRule, namespace: "istio".into(), name: version.into() };
        let rule = json!({
            "apiVersion": format!("networking.istio.io/{version}"), "kind": "DestinationRule",
            "metadata": {"name": version, "namespace": "istio"},
            "spec": {"host": "web", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}},
        });
        eventually("the kind", async || kubectl(kubectl_, &["create", "-f", "-"], &rule.to_string()).await).await?;
        let written = Self { kubectl: kubectl_.clone(), version, object };
        written.run(&["patch", "--subresource=status", "--type=merge", "--patch", THEIRS]).await?;
        Ok(written)
    }

    /// `kubectl <verb> <this rule, in its version> <arguments>`.
    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let resource = format!("destinationrules.{}.networking.istio.io", self.version);
        let (verb, rest) = arguments.split_first().context("a verb")?;
        let all = [&[*verb, "--namespace=istio", &resource, self.version], rest].concat();
        kubectl(&self.kubectl, &all, "").await
    }

    /// Waits until it has these conditions of ours, whole, and everything of Istio's.
    async fn expect(&self, ours: &[&str], generation: u64) -> Result<()> {
        eventually(&format!("{} to be {ours:?}", self.object), async || {
            let rule: Value = serde_json::from_str(&self.run(&["get", "-o", "json"]).await?)?;
            let status = &rule["status"];
            let all = status["conditions"].as_array().cloned().unwrap_or_default();
            let (mine, theirs): (Vec<Value>, Vec<Value>) = all.into_iter().partition(is_ours);
            let line = |one: &Value| format!("{}={}", one["type"], one["status"]).replace('"', "");
            let mut lines: Vec<String> = mine.iter().map(line).collect();
            lines.sort();
            ensure!(lines == ours, "{status}");
            for one in &mine {
                let fields: Vec<&String> = one.as_object().context("an object")?.keys().collect();
                ensure!(fields == FIELDS && one["observedGeneration"] == generation, "{status}");
            }
            let expected: Value = serde_json::from_str(THEIRS)?;
            for field in ["validationMessages", "observedGeneration"] {
                ensure!(status[field] == expected["status"][field], "{field}: {status}");
            }
            ensure!(Value::from(theirs) == expected["status"]["conditions"], "{status}");
            Ok(())
        })
        .await
    }
}

#[test]
fn s33_a_destination_rule_of_each_version_is_told_and_what_istio_says_of_it_stays() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    api.apply(&destination_rules()?)?;
    let kubectl = api.kubectl().clone();
    api.with_client(|client| each_version(client, kubectl))
}

async fn each_version(client: Client, kubectl: Kubectl) -> Result<()> {
    let stage = Stage::set(client, "istio").await?;
    let mut rules = Vec::new();
    for version in VERSIONS {
        rules.push(Written::write(&kubectl, version).await?);
    }
    let report = |findings: &[Finding], generation| Report {
        policies: rules.iter().map(|rule| (rule.object.clone(), Some(generation))).collect(),
        findings: findings.to_vec(),
    };
    let wrong = |rule: &Written| finding(&rule.object, Severity::Unsupported, "tls is not served");
    let wrong: Vec<Finding> = rules.iter().map(wrong).collect();
    let accepted = ["mesh.dev/Accepted=True"];
    let unsupported = ["mesh.dev/Accepted=True", "mesh.dev/Unsupported=True"];

    let teller = Teller::start(&stage.client, "istio");
    for (findings, ours) in [(&wrong[..], &unsupported[..]), (&[], &accepted), (&wrong, &unsupported)] {
        tell(&[&teller], &report(findings, 1));
        for rule in &rules {
            rule.expect(ours, 1).await?;
        }
    }
    let told: Vec<_> = VERSIONS.iter().map(|_| ("NotServed".to_owned(), 2)).collect();
    eventually("an Event of each, twice", async || {
        ensure!(stage.events().await? == told, "{:?}", stage.events().await?);
        Ok(())
    })
    .await?;

    // As people and their programs see it, and when they have mended what was wrong.
    for rule in &rules {
        rule.run(&["wait", "--for=condition=mesh.dev/Unsupported", "--timeout=10s"]).await?;
        rule.run(&["patch", "--type=merge", "--patch", r#"{"spec": {"trafficPolicy": null}}"#]).await?;
    }
    tell(&[&teller], &report(&[], 2));
    for rule in &rules {
        rule.expect(&accepted, 2).await?;
        let described = rule.run(&["describe"]).await?;
        ensure!(described.contains("mesh.dev/Accepted") && described.contains("Reconciled"), "{described}");
    }
    Ok(())
}

/// Specs that Istio's own rules refuse, and a part of what the server says.
const REFUSED: &[(&str, &str)] = &[
    (r#"{"trafficPolicy": {}}"#, "spec.host: Required value"),
    (
        r#"{"host": "web", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": "5"}}}}"#,
        "must be of type integer",
    ),
    (r#"{"host": "web", "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "0s"}}}}"#, "greater than 1ms"),
    (r#"{"host": "web", "trafficPolicy": {"outlierDetection": {"interval": "0.5ms"}}}"#, "greater than 1ms"),
    (r#"{"host": "web", "trafficPolicy": {"outlierDetection": {"baseEjectionTime": "soon"}}}"#, "baseEjectionTime"),
    (r#"{"host": "web", "trafficPolicy": {"loadBalancer": {"simple": "FASTEST"}}}"#, "Unsupported value: \"FASTEST\""),
    (
        r#"{"host": "web", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM", "consistentHash": {}}}}"#,
        "loadBalancer",
    ),
    (r#"{"host": "web", "workloadSelector": {"matchLabels": {"*": "x"}}}"#, "wildcard not allowed in label key match"),
];

/// What the server would say of these rules, in a namespace that there is.
fn tried(api: &ApiServer, rules: &[(String, Value)]) -> Result<String> {
    let named = rules.iter().enumerate().map(|(number, (version, spec))| {
        let metadata = json!({"name": format!("tried-{number}"), "namespace": "default"});
        json!({"apiVersion": version, "kind": "DestinationRule", "metadata": metadata, "spec": spec}).to_string()
    });
    let documents = named.collect::<Vec<_>>().join("\n---\n");
    api.kubectl().run_with(&["create", "--dry-run=server", "--validate=false", "-f", "-"], &documents)
}

/// What is parsed here is what such a server holds: the rules of the parser's own tests, and others' from the folder that
/// `MESH_DESTINATION_RULES` names, are all taken.
#[test]
fn the_api_server_takes_the_rules_that_mesh_reads_and_refuses_nonsense() -> Result<()> {
    let world = World::new()?;
    let api = ApiServer::beside(&world)?;
    api.apply(&destination_rules()?)?;
    let good = json!({"host": "web"});
    let every: Vec<_> =
        VERSIONS.iter().map(|version| (format!("networking.istio.io/{version}"), good.clone())).collect();
    wait_for("the kind to be served", || tried(&api, &every))?;

    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mesh-userspace/tests/destination-rules");
    let mut rules = published(&ours)?;
    if let Some(folder) = std::env::var_os("MESH_DESTINATION_RULES") {
        rules.append(&mut published(Path::new(&folder))?);
    }
    let versions: BTreeSet<&String> = rules.iter().map(|(version, _)| version).collect();
    ensure!(versions.len() == VERSIONS.len(), "rules of {versions:?}");
    let taken = tried(&api, &rules)?.lines().count();
    ensure!(taken == rules.len(), "{taken} of {}", rules.len());
    println!("{taken} rules taken");

    let mut wrong = Vec::new();
    for (spec, said) in REFUSED {
        for (version, _) in &every {
            match tried(&api, &[(version.clone(), serde_json::from_str(spec)?)]) {
                Ok(_) => wrong.push(format!("{version} took {spec}")),
                Err(error) if format!("{error:#}").contains(said) => {}
                Err(error) => wrong.push(format!("{version}: {said:?} was expected of {spec}: {error:#}")),
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The version and spec of each DestinationRule in the files of a folder.
fn published(folder: &Path) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut published(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let documents = text.split("\n---").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
            let rules = documents.filter(|document| document["kind"] == "DestinationRule");
            let version = |rule: &Value| rule["apiVersion"].as_str().unwrap_or_default().to_owned();
            found.extend(rules.map(|rule| (version(&rule), rule["spec"].clone())));
        }
    }
    Ok(found)
}
