//! The cluster that the story plays on, while it is up.

use super::shop;
use crate::promises::Promises;
use crate::screen::Screen;
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail, ensure};
use mesh_tests::client::Client;
use mesh_tests::cluster::{Cluster, Mesh, NAMESPACE, Options};
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use mesh_tests::object::ObjectName;
use serde_json::{Value, json};
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How `cargo xtask cluster` knows a cluster of its own.
const PREFIX: &str = "mesh-cluster-up";

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that an act works with.
pub struct Stage {
    /// Two clients for single connections, one on each node. Those of the traffic are others, in the same pods.
    pub clients: [Client; 2],
    /// The traffic.
    pub traffic: Traffic,
    /// Where clients reach the shop.
    pub frontends: Vec<Frontend>,
    /// Where it is told.
    pub screen: Screen,
    /// What was promised.
    pub promises: Promises,
    /// Whether somebody wants it to end.
    pub interrupted: Arc<AtomicBool>,
    /// The cluster itself.
    pub cluster: Cluster,
}

impl Stage {
    /// Starts the cluster with mesh alone, and the shop on it.
    pub fn raise(interrupted: Arc<AtomicBool>) -> Result<Self> {
        let mut screen = Screen::new();
        screen.act("A cluster of two nodes comes up, without kube-proxy");
        let started = Instant::now();
        let options = Options { nodes: 2, kube_proxy: false, mesh: Some(Mesh::of_this_workspace()?) };
        let cluster = Cluster::named(PREFIX, &options)?;
        screen.say(&format!("  after {} s its nodes are ready, and mesh is in place:", started.elapsed().as_secs()));
        let words = ["get", "pods", "--namespace", NAMESPACE, "--output", "wide", "--no-headers"];
        for line in cluster.kubectl().run(&words)?.lines() {
            screen.say(&format!("  {}", line.split_whitespace().take(7).collect::<Vec<_>>().join("  ")));
        }

        screen.act("An application comes up");
        let objects = [shop::objects()?, shop::clients().to_vec()].concat();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        cluster.wait_pods(shop::NAMESPACE)?;
        let services = cluster.kubectl().get(&["services", "--namespace", shop::NAMESPACE])?;
        let services = services["items"].as_array().context("a list of Services")?;
        let frontends = services.iter().map(frontends).collect::<Result<Vec<_>>>()?.concat();
        for frontend in &frontends {
            screen.say(&format!("  {:<16} {frontend}", label(&frontend.service)));
        }
        let client = |number: u8| cluster.pod_in(shop::NAMESPACE, &format!("client-{number}")).client();
        let visitors = [("client-1".to_owned(), client(1)?), ("client-2".to_owned(), client(2)?)];
        let clients = [client(1)?, client(2)?];
        let traffic = Traffic::start(&visitors);
        let promises = Promises::default();
        let stage = Self { clients, traffic, frontends, screen, promises, interrupted, cluster };
        Ok(stage)
    }

    /// Notes a promise.
    pub fn note<E: Display>(&mut self, promise: &str, outcome: Result<(), E>) {
        self.promises.note(&mut self.screen, promise, outcome);
    }

    /// Waits until a condition is true.
    pub fn watch<T>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
            match condition(self) {
                Ok(value) => return Ok(value),
                Err(seen) if started.elapsed() > PATIENCE => {
                    bail!("waited {} s for {what}; last seen: {seen:#}", PATIENCE.as_secs())
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until every frontend has had so many more visits.
    pub fn watch_visits(&mut self, visits: u64) -> Result<()> {
        let goal = self.traffic.all().fewest(&self.frontends) + visits;
        self.watch("the clients to visit every Service", |stage| {
            let seen = stage.traffic.all().fewest(&stage.frontends);
            ensure!(seen >= goal, "{seen} of {goal} visits");
            Ok(())
        })
    }

    /// A frontend of a Service by name.
    pub fn frontend(&self, service: &str) -> Result<Frontend> {
        let found = self.frontends.iter().find(|frontend| frontend.service.name == service);
        found.cloned().with_context(|| format!("the shop has no {service}"))
    }

    /// The names of an application's pods that do not end.
    pub fn pods(&self, application: &str) -> Result<Vec<String>> {
        let selector = format!("app={application}");
        let list = self.cluster.kubectl().get(&["pods", "--namespace", shop::NAMESPACE, "--selector", &selector])?;
        let pods = list["items"].as_array().context("a list of pods")?.iter();
        let staying = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(staying.filter_map(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).collect())
    }

    /// Leaves the cluster up, and says how to work with it.
    pub fn keep(mut self) -> Result<()> {
        let this = format!("cargo xtask cluster --cluster {}", self.cluster.name());
        self.screen.act("It stays up. To try:");
        for words in [
            "kubectl --namespace shop get pods,services,trafficpolicies",
            "kubectl --namespace mesh-system exec daemonset/mesh -- /mesh service list",
            "kubectl --namespace mesh-system exec daemonset/mesh -- /mesh backend list",
            "kubectl --namespace shop rollout restart deployment/web",
            "enter node-1 -- ls /sys/fs/bpf/mesh",
            "down",
        ] {
            self.screen.say(&format!("  {this} {words}"));
        }
        self.cluster.keep()
    }
}

/// `shop/web`.
pub fn label(service: &ObjectName) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// Where clients reach a Service that the API server has.
fn frontends(service: &Value) -> Result<Vec<Frontend>> {
    let name = service["metadata"]["name"].as_str().context("a Service has a name")?;
    let mut found = Vec::new();
    for address in service["spec"]["clusterIPs"].as_array().context("a Service has addresses")? {
        let address: IpAddr = address.as_str().unwrap_or_default().parse()?;
        for port in service["spec"]["ports"].as_array().context("a Service has ports")? {
            let number: u16 = port["port"].as_u64().context("a port has a number")?.try_into()?;
            found.push(Frontend {
                service: ObjectName::namespaced("Service", shop::NAMESPACE, name),
                transport: if port["protocol"] == "UDP" { Transport::Udp } else { Transport::Tcp },
                address: (address, number).into(),
            });
        }
    }
    Ok(found)
}
