//! Who serves the Services of a cluster: kube-proxy, or mesh in its place.

use crate::cluster::{Cluster, Node, POD_RANGES};
use crate::programs;
use crate::world::Process;
use anyhow::{Context, Result, bail};
use nix::unistd::setsid;
use serde_json::json;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proxy {
    /// kube-proxy in its nftables mode.
    KubeProxy,
    /// The mesh's agent, which watches the same API.
    Mesh,
}

/// The port of its node at which it says how it is.
pub const HEALTH: u16 = 10256;

/// The proxy that serves, a process on each node.
#[derive(Debug, Default)]
pub struct Proxies(Mutex<Serving>);

#[derive(Debug, Default)]
struct Serving {
    proxy: Option<Proxy>,
    processes: Vec<Process>,
}

impl Proxies {
    /// Ends the one that serves, takes what it left in the kernel away, and starts another.
    pub fn switch(&self, cluster: &Cluster, proxy: Proxy) -> Result<()> {
        let former = self.serving().proxy;
        if let Some(former) = former {
            self.kill(cluster)?;
            for node in cluster.nodes() {
                former.clean(cluster, node)?;
            }
        }
        self.serving().proxy = Some(proxy);
        self.start(cluster)
    }

    /// Starts it on every node.
    pub fn start(&self, cluster: &Cluster) -> Result<()> {
        let mut serving = self.serving();
        let Some(proxy) = serving.proxy else { bail!("no proxy was chosen") };
        serving.processes = cluster.nodes().iter().map(|node| proxy.start(cluster, node)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Kills it on every node with SIGKILL. What it wrote into the kernel stays.
    pub fn kill(&self, cluster: &Cluster) -> Result<()> {
        for node in cluster.nodes() {
            node.enter(&["sh", "-c", &format!("kill -9 $(cat {PID})")])?;
        }
        // What entered the node for it ends with it.
        self.serving().processes.drain(..).try_for_each(|mut process| process.wait().map(drop))
    }

    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a node's proxy writes its process id, as the node counts.
const PID: &str = "/run/proxy.pid";

impl Proxy {
    fn name(self) -> &'static str {
        match self {
            Self::KubeProxy => "kube-proxy",
            Self::Mesh => "mesh",
        }
    }

    fn start(self, cluster: &Cluster, node: &Node) -> Result<Process> {
        let words = match self {
            Self::KubeProxy => vec!["kube-proxy".into(), "--config".into(), kube_proxy_config(cluster, node)?.into()],
            Self::Mesh => vec![
                programs::find("mesh")?.into(),
                "agent".into(),
                "--kubeconfig".into(),
                cluster.kubectl().kubeconfig().into(),
                "--node-name".into(),
                node.name().into(),
                format!("--health-address=0.0.0.0:{HEALTH}").into(),
                "--health-check-node-ports".into(),
            ],
        };
        let mut command = node.command("sh")?;
        command.arg("-c").arg(format!("echo $$ > {PID}; exec \"$@\"")).arg("sh").args::<_, std::ffi::OsString>(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        let log = cluster.home().path(&format!("{}-{}.log", self.name(), node.name()));
        Process::start(self.name(), &mut command, log)
    }

    /// Takes away what it left in the node's kernel.
    fn clean(self, cluster: &Cluster, node: &Node) -> Result<()> {
        match self {
            Self::KubeProxy => {
                let config = kube_proxy_config(cluster, node)?;
                node.enter(&["kube-proxy", "--cleanup", "--config", &config.display().to_string()]).map(drop)
            }
            Self::Mesh => {
                let mesh = programs::find("mesh")?;
                node.enter(&[&mesh.display().to_string(), "unload"]).map(drop)
            }
        }
    }
}

fn kube_proxy_config(cluster: &Cluster, node: &Node) -> Result<PathBuf> {
    let file = cluster.home().path(&format!("kube-proxy-{}.json", node.name()));
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": cluster.kubectl().kubeconfig(), "qps": 1000, "burst": 2000},
        "clusterCIDR": POD_RANGES.join(","),
        // The size of the table of connections is the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "hostnameOverride": node.name(),
    });
    fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
