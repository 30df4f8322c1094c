//! What is wrong with users' objects is told on the objects, by one agent, once (SEMANTICS 33), on a real API server.

mod istio;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mesh_tests::cluster::ApiServer;
use mesh_tests::world::World;
use mesh_userspace::crd;
use mesh_userspace::model::parse::TrafficPolicy;
use mesh_userspace::model::{Finding, Kind, ObjectRef, Severity};
use mesh_userspace::report::{self, Report, Terms};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Short, so that the test need not wait for half a minute.
const TERMS: Terms = Terms { lasts: Duration::from_secs(3), renew: Duration::from_millis(500) };

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One agent's part in it.
struct Teller {
    reports: watch::Sender<Option<Arc<Report>>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Teller {
    fn start(client: &Client, identity: &str) -> Self {
        let (reports, read) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let task = report::spawn(client.clone(), identity.to_owned(), "node-1".into(), TERMS, read, stopped);
        Self { reports, stop, task }
    }
}

fn tell(tellers: &[&Teller], report: &Report) {
    for teller in tellers {
        teller.reports.send_replace(Some(Arc::new(report.clone())));
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.context(format!("waited for {what}"))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn finding(object: &ObjectRef, severity: Severity, message: &str) -> Finding {
    Finding {
        severity,
        origin: None,
        object: Some(object.clone()),
        field: "spec.x".into(),
        message: message.into(),
        action: "mend it".into(),
    }
}

/// The cluster, with a namespace, a Service and a policy of this test's own.
struct Stage {
    client: Client,
    namespace: String,
    service: ObjectRef,
    policy: ObjectRef,
}

impl Stage {
    async fn set(client: Client, namespace: &str) -> Result<Self> {
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let ours = PatchParams::apply("test").force();
        crds.patch("trafficpolicies.mesh.dev", &ours, &Patch::Apply(crd::traffic_policies())).await?;
        let named = json!({"metadata": {"name": namespace}});
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(named)?).await?;
        let object = |kind, name: &str| ObjectRef { kind, namespace: namespace.into(), name: name.into() };
        let stage = Self {
            client,
            namespace: namespace.to_owned(),
            service: object(Kind::Service, "web"),
            policy: object(Kind::TrafficPolicy, "limits"),
        };
        let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
        stage.services().create(&PostParams::default(), &serde_json::from_value(service)?).await?;
        let policy = json!({
            "apiVersion": "mesh.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "limits"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], "limits": {"maxConnections": 5}},
        });
        eventually("the kind", async || {
            let policy = serde_json::from_value(policy.clone())?;
            Ok(stage.policies().create(&PostParams::default(), &policy).await.map(drop)?)
        })
        .await?;
        Ok(stage)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn policies(&self) -> Api<TrafficPolicy> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn report(&self, findings: Vec<Finding>) -> Report {
        Report { policies: [(self.policy.clone(), Some(1))].into(), findings }
    }

    /// The conditions as `type=status reason`, sorted.
    async fn conditions(&self, object: &ObjectRef) -> Result<Vec<String>> {
        let object = match object.kind {
            Kind::Service => serde_json::to_value(self.services().get(&object.name).await?)?,
            _ => serde_json::to_value(self.policies().get(&object.name).await?)?,
        };
        let listed = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |c: &Value| format!("{}={} {}", text(&c["type"]), text(&c["status"]), text(&c["reason"]));
        let mut lines: Vec<String> = listed.iter().map(line).collect();
        lines.sort();
        Ok(lines)
    }

    async fn expect(&self, object: &ObjectRef, expected: &[&str]) -> Result<()> {
        eventually(&format!("{object} to be {expected:?}"), async || {
            let conditions = self.conditions(object).await?;
            ensure!(conditions == expected, "{conditions:?}");
            Ok(())
        })
        .await
    }

    /// The Events about objects of the namespace: reason, and how often.
    async fn events(&self) -> Result<Vec<(String, i32)>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&ListParams::default()).await?.items;
        let count = |event: &Event| event.series.as_ref().map_or(1, |series| series.count);
        let mut told: Vec<_> = events.iter().map(|e| (e.reason.clone().unwrap_or_default(), count(e))).collect();
        told.sort();
        Ok(told)
    }

    async fn versions(&self) -> Result<Vec<Option<String>>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut versions = vec![
            self.services().get("web").await?.metadata.resource_version,
            self.policies().get("limits").await?.metadata.resource_version,
        ];
        let listed = events.list(&ListParams::default()).await?.items;
        versions.extend(listed.into_iter().map(|event| event.metadata.resource_version));
        Ok(versions)
    }

    async fn holder(&self) -> Result<String> {
        let leases: Api<Lease> = Api::default_namespaced(self.client.clone());
        let spec = leases.get("mesh-report").await?.spec.context("no spec")?;
        spec.holder_identity.filter(|holder| !holder.is_empty()).context("nobody has it")
    }
}

#[test]
fn s33_one_agent_tells_what_is_wrong_once_and_another_goes_on() -> Result<()> {
    ApiServer::beside(&World::new()?)?.with_client(one_tells)
}

async fn one_tells(client: Client) -> Result<()> {
    let stage = Stage::set(client, "told").await?;
    let (service, policy) = (&stage.service, &stage.policy);
    let first = Teller::start(&stage.client, "first");
    eventually("the first to lead", async || {
        ensure!(stage.holder().await? == "first");
        Ok(())
    })
    .await?;
    let second = Teller::start(&stage.client, "second");

    // Nothing is said before anything is known.
    tokio::time::sleep(TERMS.renew * 2).await;
    assert!(stage.conditions(policy).await?.is_empty());

    let wrong = stage.report(vec![
        finding(policy, Severity::Conflict, "another was first"),
        finding(service, Severity::Unsupported, "its node ports are served to clients in the cluster"),
    ]);
    tell(&[&first, &second], &wrong);
    stage.expect(policy, &["Accepted=False Conflicted"]).await?;
    stage.expect(service, &["mesh.dev/Unsupported=True NotServed"]).await?;
    let told = [("Conflicted".to_owned(), 1), ("NotServed".to_owned(), 1)];
    eventually("one Event for each", async || {
        ensure!(stage.events().await? == told);
        Ok(())
    })
    .await?;

    // At rest, and when the same is found again, nothing is written.
    let before = stage.versions().await?;
    for _ in 0..4 {
        tell(&[&first, &second], &wrong);
        tokio::time::sleep(TERMS.renew).await;
    }
    assert_eq!(stage.versions().await?, before);

    // The leader dies without a word: the other takes over, and says nothing that was said.
    first.task.abort();
    eventually("the second to lead", async || {
        ensure!(stage.holder().await? == "second");
        Ok(())
    })
    .await?;
    tokio::time::sleep(TERMS.renew * 2).await;
    assert_eq!(stage.versions().await?, before);

    // Mended: what was said is taken back.
    tell(&[&second], &stage.report(Vec::new()));
    stage.expect(policy, &["Accepted=True Accepted"]).await?;
    stage.expect(service, &[]).await?;

    // Wrong again: the same Event, once more.
    tell(&[&second], &wrong);
    stage.expect(service, &["mesh.dev/Unsupported=True NotServed"]).await?;
    let told = [("Conflicted".to_owned(), 2), ("NotServed".to_owned(), 2)];
    eventually("each Event twice", async || {
        ensure!(stage.events().await? == told);
        Ok(())
    })
    .await?;

    // A leader that ends gives the Lease back: the next need not wait for it to run out.
    second.stop.send(true)?;
    second.task.await?;
    assert!(stage.holder().await.is_err());

    // Mended while nobody was there to say so.
    let third = Teller::start(&stage.client, "third");
    tell(&[&third], &stage.report(Vec::new()));
    stage.expect(service, &[]).await?;
    stage.expect(policy, &["Accepted=True Accepted"]).await
}

#[test]
fn s33_conditions_of_others_stay() -> Result<()> {
    ApiServer::beside(&World::new()?)?.with_client(others_stay)
}

async fn others_stay(client: Client) -> Result<()> {
    let stage = Stage::set(client, "shared").await?;
    let service = &stage.service;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "status": {"conditions": [{
            "type": "example.com/Ready", "status": "True", "reason": "Fine", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    });
    stage.services().patch_status("web", &PatchParams::apply("someone"), &Patch::Apply(theirs)).await?;
    let teller = Teller::start(&stage.client, "shared");
    tell(&[&teller], &stage.report(vec![finding(service, Severity::Refused, "SLOTS is full")]));
    stage.expect(service, &["example.com/Ready=True Fine", "mesh.dev/Accepted=False NoRoom"]).await?;
    tell(&[&teller], &stage.report(Vec::new()));
    stage.expect(service, &["example.com/Ready=True Fine"]).await
}
