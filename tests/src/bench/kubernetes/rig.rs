//! Two worlds of the same pods, one that mesh serves and one that kube-proxy serves, and one API server for both.

use super::ENDPOINTS;
use super::proxy::Proxy;
use crate::ears::Backend;
use crate::interrupt;
use crate::services::{self, TARGET};
use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::ApiServer;
use mesh_tests::wait::wait_for_within;
use mesh_tests::world::{Agent, NODE_NAME, Netns, Pod, World};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long a first sync may take.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A world with a client and backends.
pub struct Side {
    pub world: World,
    pub client: Pod,
    node: Netns,
    backends: Vec<Pod>,
}

/// Everything that is measured.
pub struct Rig {
    pub agent: Agent, // dropped before its world
    pub proxy: Proxy,
    pub api: ApiServer,
    pub proxied: Side,
    pub meshed: Side,
}

impl Side {
    /// Pods that reach each other through the node, as with most network plugins: kube-proxy needs that. Each backend
    /// has the addresses of one endpoint of every Service.
    fn make() -> Result<Self> {
        let world = World::named("mesh-bench")?;
        let backends: Vec<Pod> = (0..ENDPOINTS).map(|n| world.pod(&format!("backend-{n}"))).collect::<Result<_>>()?;
        let client = world.pod("client")?;
        let node = world.host_pod("node")?.netns().clone();
        node.sysctl(&[("ipv4/conf/all/send_redirects", "0"), ("ipv4/conf/pods/send_redirects", "0")])?;
        for pod in backends.iter().chain([&client]) {
            let address = pod.v4();
            pod.netns().ip(&format!(
                "addr del {address}/16 dev eth0\naddr add {address}/32 dev eth0\n\
                 route add 10.244.0.1/32 dev eth0\nroute add default via 10.244.0.1\n"
            ))?;
        }
        for (number, pod) in (0..).zip(&backends) {
            let endpoints = services::endpoints_of(number);
            pod.netns().ip(&format!("route add local {endpoints} dev lo\n"))?;
            node.ip(&format!("route add {endpoints} via {}\n", pod.v4()))?;
        }
        // Any route will do: kube-proxy refuses on behalf of a Service without endpoints only what the node would forward.
        node.ip("route add 10.96.0.0/12 dev pods\n")?;
        Ok(Self { world, client, node, backends })
    }

    /// The backends, for a process that listens as all of them.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        let backend = |pod: &Pod| {
            let IpAddr::V4(address) = pod.v4() else { return None };
            Some(Backend { netns: pod.netns().path().to_owned(), address })
        };
        self.backends.iter().map(backend).collect::<Option<_>>().context("pods have IPv4 addresses")
    }

    /// Listens in every backend as long as what this gives lives.
    fn listen(&self) -> Result<Vec<TcpListener>> {
        let everywhere = (Ipv4Addr::UNSPECIFIED, TARGET);
        let listen = |pod: &Pod| pod.netns().run(|| TcpListener::bind(everywhere).context("listen"));
        self.backends.iter().map(listen).collect()
    }

    /// Waits until a client outside of every mesh gets through to this frontend.
    pub fn wait_served(&self, frontend: SocketAddrV4) -> Result<()> {
        let _ears = self.listen()?;
        self.client.netns().run(|| {
            let started = Instant::now();
            loop {
                interrupt::check()?;
                match TcpStream::connect_timeout(&frontend.into(), Duration::from_millis(200)) {
                    Ok(_) => return Ok(()),
                    Err(error) => ensure!(started.elapsed() < PATIENCE, "{frontend}: {error}"),
                }
                thread::sleep(Duration::from_millis(2));
            }
        })
    }
}

impl Rig {
    /// Starts the API server; neither mesh nor kube-proxy runs yet.
    pub fn make() -> Result<Self> {
        let (proxied, meshed) = (Side::make()?, Side::make()?);
        let api = ApiServer::beside(&proxied.world)?;
        api.apply(&format!("{{apiVersion: v1, kind: Node, metadata: {{name: {NODE_NAME}}}}}"))?;
        let status = "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.244.0.1\"}]}}";
        api.kubectl().run(&["patch", "node", NODE_NAME, "--subresource=status", "--type=merge", "-p", status])?;
        api.kubectl().run(&["create", "namespace", "bench"])?;
        let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/mesh/crds/trafficpolicies.yaml");
        api.kubectl().run(&["apply", "-f", definition])?;
        // Where the API server can be reached; the pods that it serves are those of its own world.
        let agent = meshed.world.agent().another("fed").within(proxied.node.clone());
        agent.follow(api.kubeconfig());
        let proxy = Proxy::new(&proxied.world, &api)?;
        Ok(Self { agent, proxy, api, proxied, meshed })
    }

    /// Starts both and waits until they serve `count` Services.
    pub fn start_both(&self, count: u32) -> Result<()> {
        self.start_agent(count)?;
        self.start_proxy(count).map(drop)
    }

    /// Starts the agent and waits until so many Services are in the maps, and in force; returns how long that took.
    pub fn start_agent(&self, count: u32) -> Result<Duration> {
        let started = Instant::now();
        self.agent.spawn()?;
        wait_for_within(PATIENCE, "the agent to be ready", || {
            interrupt::check()?;
            ensure!(self.agent.is_running(), "it ended: {}", self.agent.log());
            let status = self.agent.status()?;
            let source = &status["sources"][0];
            // The API server's own Service is one more.
            let read = source["synced"] == true && source["objects"]["Service"] == count + 1;
            let in_force = status["programs"].as_array().is_some_and(|all| all.iter().all(|p| p["inForce"] == true));
            ensure!(read && in_force && status["services"]["waiting"] == 0, "{status}");
            Ok(())
        })?;
        Ok(started.elapsed())
    }

    /// Starts kube-proxy and waits until it serves the last of so many Services; returns how long that took.
    pub fn start_proxy(&self, count: u32) -> Result<Duration> {
        let started = Instant::now();
        self.proxy.start()?;
        self.proxied.wait_served(services::frontend(count))?;
        Ok(started.elapsed())
    }

    /// Ends the agent, and takes away what it made.
    pub fn clear_agent(&self) -> Result<()> {
        self.agent.stop()?;
        self.agent.unload()
    }

    /// Ends kube-proxy, and takes away what it made.
    pub fn clear_proxy(&self) -> Result<()> {
        self.proxy.end();
        self.proxy.flush()
    }
}
