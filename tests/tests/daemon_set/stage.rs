//! The cluster that mesh is installed on: two nodes under kube-proxy, an application, and clients in pods of both.

use super::load::Asker;
use anyhow::{Context, Result, ensure};
use mesh_tests::client::{Client, Connection};
use mesh_tests::cluster::{Cluster, Mesh, Node, Options, PROGRAMS, machine};
use mesh_tests::conformance::{HEALTH, Proxies, Proxy};
use mesh_tests::echo::Transport;
use mesh_tests::wait::wait_for;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// A namespace of its own would add nothing: there is nobody else.
const DEFAULT: &str = "default";

/// How many pods serve.
const REPLICAS: usize = 4;

/// The cluster with who serves it.
pub struct Stage {
    // First, so that clients end before the cluster does.
    clients: [Client; 2],
    proxies: Proxies,
    pub cluster: Cluster,
}

impl Stage {
    /// Under kube-proxy alone, with pods that are ready.
    pub fn set() -> Result<Self> {
        let cluster = Cluster::start(&Options { nodes: 2, kube_proxy: false, mesh: None })?;
        let proxies = Proxies::default();
        proxies.switch(&cluster, Proxy::KubeProxy)?;
        let objects = [deployment(), service("web"), service("counted"), client(1), client(2)];
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        cluster.wait_rollout(DEFAULT, "deployment/web")?;
        cluster.wait_pods(DEFAULT)?;
        cluster.wait_rollout("kube-system", "deployment/coredns")?;
        let clients = [cluster.pod("client-1").client()?, cluster.pod("client-2").client()?];
        let stage = Self { clients, proxies, cluster };
        stage.wait_kube_proxy()?;
        let web = stage.address("web", 0)?;
        for client in &stage.clients {
            wait_for("every pod to answer", || {
                let tally = client.tally(web, 60)?;
                ensure!(tally.answers.len() == REPLICAS && tally.failed() == 0, "{tally:?}");
                Ok(())
            })?;
        }
        Ok(stage)
    }

    /// Who asks all the time: TCP in both families and UDP, from both nodes.
    pub fn askers(&self) -> Result<Vec<Asker>> {
        let asker = |name, number: u8, transport, family| -> Result<Asker> {
            let client = self.cluster.pod(&format!("client-{number}")).client()?;
            Ok(Asker { name, client, transport, to: self.address("web", family)? })
        };
        Ok(vec![
            asker("node-1 TCP", 1, Transport::Tcp, 0)?,
            asker("node-2 TCP", 2, Transport::Tcp, 0)?,
            asker("node-2 TCP over IPv6", 2, Transport::Tcp, 1)?,
            asker("node-1 UDP", 1, Transport::Udp, 0)?,
        ])
    }

    /// A connection from each node, to be held.
    pub fn hold(&self) -> Result<Vec<Held>> {
        let web = self.address("web", 0)?;
        let open = |client: &Client| -> Result<Held> {
            let connection = client.connect(web)?;
            Ok(Held { server: connection.server()?, connection })
        };
        self.clients.iter().map(open).collect()
    }

    /// The agents count every connection to a Service that nobody else uses: new connections go through mesh, and `getpeername`
    /// shows the Service.
    pub fn serves(&self) -> Result<()> {
        const TIMES: u32 = 50;
        let counted = self.address("counted", 0)?;
        for (node, client) in self.cluster.nodes().iter().zip(&self.clients) {
            let before = self.opened(node)?;
            let tally = client.tally(counted, TIMES)?;
            ensure!(tally.answered() == TIMES && tally.answers.len() == REPLICAS, "{tally:?}");
            let after = self.opened(node)?;
            ensure!(
                after == before + u64::from(TIMES),
                "{TIMES} connections on {}: {before}, then {after}",
                node.name()
            );
            ensure!(client.connect(counted)?.peer()? == counted, "getpeername shows another address than {counted}");
        }
        Ok(())
    }

    /// How many connections to `counted` the agent of a node has counted.
    fn opened(&self, node: &Node) -> Result<u64> {
        let services = Mesh::ask(&self.cluster, node, &["service", "list"])?;
        let service = services.as_array().into_iter().flatten().find(|service| service["name"] == "counted");
        service.and_then(|service| service["opened"].as_u64()).with_context(|| format!("no `counted` in {services}"))
    }

    /// Names are resolved on both nodes.
    pub fn resolves(&self) -> Result<()> {
        let web = self.address("web", 0)?.ip();
        for client in &self.clients {
            let found = client.resolve("web.default.svc.cluster.local")?;
            ensure!(found.contains(&web), "{found:?} where {web} was expected");
        }
        Ok(())
    }

    /// Replaces every pod of the application, and waits until the last old one is gone. New ones are ready by their probes.
    pub fn roll(&self) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        let names = kubectl.run(&["get", "pods", "--selector=app=web", "--output=name"])?;
        kubectl.run(&["rollout", "restart", "deployment/web"])?;
        self.cluster.wait_rollout(DEFAULT, "deployment/web")?;
        let mut words = vec!["wait", "--for=delete", "--timeout=60s"];
        words.extend(names.lines());
        kubectl.run(&words).map(drop)
    }

    /// Ends kube-proxy on every node. Its rules stay in the kernel.
    pub fn end_kube_proxy(&self) -> Result<()> {
        self.proxies.kill(&self.cluster)
    }

    /// Brings kube-proxy back, and waits until it serves.
    pub fn start_kube_proxy(&self) -> Result<()> {
        self.proxies.start(&self.cluster)?;
        self.wait_kube_proxy()
    }

    fn wait_kube_proxy(&self) -> Result<()> {
        for number in [1, 2] {
            let to = (machine(number)[0], HEALTH);
            wait_for(&format!("kube-proxy on node-{number} to be well"), || {
                let status = self.clients[0].get(to, "/healthz")?;
                ensure!(status == 200, "{status}");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn address(&self, service: &str, family: usize) -> Result<SocketAddr> {
        let service = self.cluster.kubectl().get(&["service", service])?;
        let address = service["spec"]["clusterIPs"][family].as_str().context("a ClusterIP")?;
        Ok((address.parse::<IpAddr>()?, 80).into())
    }
}

/// A connection that stays open.
pub struct Held {
    connection: Connection,
    server: String,
}

impl Held {
    /// It still reaches the pod that it was opened to.
    pub fn lives(&self) -> Result<()> {
        let server = self.connection.server().with_context(|| format!("the connection to {}", self.server))?;
        ensure!(server == self.server, "it was opened to {}, and {server} answers", self.server);
        Ok(())
    }
}

fn container(name: &str, arguments: &[&str]) -> Value {
    json!({
        "name": name, "image": PROGRAMS, "args": arguments,
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    })
}

/// Two pods on each node. One that goes serves on until everybody has heard of it.
fn deployment() -> Value {
    let mut server = container("web", &["--name", "$(POD)", "tcp/8080", "udp/8080"]);
    server["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1});
    server["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 4}}});
    let apart = json!({"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": DEFAULT},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": REPLICAS}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 5, "containers": [server], "topologySpreadConstraints": [apart],
                },
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": DEFAULT},
        "spec": {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack", "ports": [
            {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"},
            {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}]},
    })
}

/// A pod of clients on a node.
fn client(number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("client-{number}"), "namespace": DEFAULT},
        "spec": {
            "nodeName": format!("node-{number}"), "terminationGracePeriodSeconds": 0,
            "containers": [container("client", &["--name", "client", "tcp/1"])],
        },
    })
}
