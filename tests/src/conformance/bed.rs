//! The cluster on which cases run: its pods, its Services, and clients in any pod.

use super::pods::{self, PLACES};
use super::proxy::{HEALTH, Proxies, Proxy};
use crate::client::Client;
use crate::cluster::{Cluster, Options, machine};
use crate::manifest::Slice;
use crate::wait::wait_for;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

/// A real cluster of two nodes with a pod for each of [`PLACES`], and one proxy at a time.
#[derive(Debug)]
pub struct Bed {
    // First, so that clients end before the cluster does.
    idle: Mutex<HashMap<&'static str, Vec<Client>>>,
    proxies: Proxies,
    /// IPv4 first.
    pods: HashMap<&'static str, Vec<IpAddr>>,
    cluster: Cluster,
}

/// A client program in a pod, nobody else's while it is held.
#[derive(Debug)]
pub struct Borrowed<'b> {
    bed: &'b Bed,
    pod: &'static str,
    client: Option<Client>,
}

impl Deref for Borrowed<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().unwrap_or_else(|| unreachable!("it is given back when this is dropped"))
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.bed.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(self.pod).or_default().push(client);
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Each would wait for the end of its exec session; the pods go now.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.drain().flat_map(|(_, clients)| clients).for_each(|client| client.kill());
    }
}

impl Bed {
    /// A new cluster whose pods are ready. Nobody serves its Services yet.
    pub fn new() -> Result<Self> {
        let cluster = Cluster::start(&Options { nodes: 2, kube_proxy: false, mesh: None })?;
        let objects: Vec<_> = PLACES.iter().map(pods::object).collect();
        apply(&cluster, &objects)?;
        cluster.wait_pods("default")?;
        let address = |place: &pods::Place| Ok((place.pod, cluster.pod(place.pod).addresses()?));
        let pods = PLACES.iter().map(address).collect::<Result<_>>()?;
        Ok(Self { idle: Mutex::default(), proxies: Proxies::default(), pods, cluster })
    }

    /// Takes the proxy away that serves, if one does, and lets this one serve in its place.
    pub fn serve_with(&self, proxy: Proxy) -> Result<()> {
        self.proxies.switch(&self.cluster, proxy)?;
        // One that starts among changes may not know its node's zone yet.
        for (pod, node) in [("host-1", 1), ("host-2", 2)] {
            let client = self.client(pod)?;
            wait_for(&format!("{proxy:?} on node-{node} to be well"), || {
                let status = client.get((machine(node)[0], HEALTH), "/healthz")?;
                ensure!(status == 200, "{status}");
                Ok(())
            })?;
        }
        if proxy == Proxy::KubeProxy {
            self.tell_zones()?;
        }
        self.cluster.wait_rollout("kube-system", "deployment/coredns")
    }

    /// kube-proxy 1.37 registers its handler of the node's labels a moment after it asks for them: when the answer comes in
    /// between, it never learns its zone. A change it does not miss.
    fn tell_zones(&self) -> Result<()> {
        for node in self.cluster.nodes() {
            let zone = node.name().replace("node", "zone");
            for zone in ["elsewhere", zone.as_str()] {
                let label = format!("topology.kubernetes.io/zone={zone}");
                self.kubectl(&["label", "node", node.name(), "--overwrite", &label])?;
            }
        }
        Ok(())
    }

    /// Kills the proxy's process on every node with SIGKILL.
    pub fn kill_proxy(&self) -> Result<()> {
        self.proxies.kill(&self.cluster)
    }

    /// Starts the proxy again after [`Bed::kill_proxy`].
    pub fn restart_proxy(&self) -> Result<()> {
        self.proxies.start(&self.cluster)
    }

    /// Runs kubectl and returns what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl().run(arguments)
    }

    /// The same, with something to read.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.cluster.kubectl().run_with(arguments, input)
    }

    /// Creates or changes objects.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        apply(&self.cluster, objects)
    }

    /// An object or a list of them.
    pub fn get(&self, what: &[&str]) -> Result<Value> {
        self.cluster.kubectl().get(what)
    }

    /// A client program in a pod.
    pub fn client(&self, pod: &'static str) -> Result<Borrowed<'_>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(pod).and_then(Vec::pop);
        let client = idle.map_or_else(|| self.cluster.pod(pod).client(), Ok)?;
        Ok(Borrowed { bed: self, pod, client: Some(client) })
    }

    /// Where clients reach a Service of the namespace `default`: its first `ClusterIP`, and this port.
    pub fn service(&self, name: &str, port: u16) -> Result<SocketAddr> {
        self.service_of(name, 0, port)
    }

    /// The same by its second `ClusterIP`: IPv6.
    pub fn service_v6(&self, name: &str, port: u16) -> Result<SocketAddr> {
        self.service_of(name, 1, port)
    }

    fn service_of(&self, name: &str, family: usize, port: u16) -> Result<SocketAddr> {
        let service = self.get(&["service", name])?;
        let address = service["spec"]["clusterIPs"][family].as_str();
        let address = address.with_context(|| format!("{name} has no such ClusterIP: {service}"))?;
        Ok((address.parse::<IpAddr>()?, port).into())
    }

    /// The `NodePort` of a Service's first port.
    pub fn node_port(&self, name: &str) -> Result<u16> {
        let service = self.get(&["service", name])?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64();
        Ok(port.with_context(|| format!("{name} has no NodePort"))?.try_into()?)
    }

    /// Gives a Service of type LoadBalancer its address, as a cloud's controller does.
    pub fn ingress(&self, name: &str, ip: IpAddr, mode: &str) -> Result<()> {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": mode}]}}}).to_string();
        self.kubectl(&["patch", "service", name, "--subresource=status", "--type=merge", "-p", &status]).map(drop)
    }

    /// The IPv4 address of a pod.
    pub fn pod(&self, name: &str) -> Result<IpAddr> {
        self.pods.get(name).and_then(|addresses| addresses.first()).copied().with_context(|| format!("no pod {name}"))
    }

    /// Adds a pod to a slice of either family, with these fields of an endpoint.
    pub fn endpoint(&self, slice: Slice, pod: &str, fields: &Value) -> Slice {
        let place = PLACES.iter().find(|place| place.pod == pod);
        let of_family = |address: &&IpAddr| address.is_ipv6() == slice.is_ipv6();
        let address = self.pods.get(pod).and_then(|addresses| addresses.iter().find(of_family));
        match (place, address) {
            (Some(place), Some(&address)) => slice.endpoint_at(pod, address, place.node, fields),
            _ => unreachable!("the table names a pod that the bed does not have: {pod}"),
        }
    }

    /// Adds ready pods to a slice.
    pub fn ready(&self, slice: Slice, pods: &[&str]) -> Slice {
        let ready = json!({"conditions": {"ready": true, "serving": true, "terminating": false}});
        pods.iter().fold(slice, |slice, pod| self.endpoint(slice, pod, &ready))
    }
}

fn apply(cluster: &Cluster, objects: &[Value]) -> Result<()> {
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
}
