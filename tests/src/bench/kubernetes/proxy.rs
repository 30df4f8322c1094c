//! kube-proxy in nftables mode, in the node's network namespace of its world.

use anyhow::{Context, Result};
use mesh_tests::cluster::{ApiServer, Components};
use mesh_tests::world::{NODE_NAME, Pod, Process, World};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;

/// One kube-proxy.
pub struct Proxy {
    program: PathBuf,
    place: Pod,
    config: PathBuf,
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Proxy {
    /// One that does not run yet.
    pub fn new(world: &World, api: &ApiServer) -> Result<Self> {
        let config = world.home().path("kube-proxy.json");
        let text = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
            "clientConnection": {"kubeconfig": api.kubeconfig(), "qps": 1000, "burst": 2000},
            "clusterCIDR": "10.244.0.0/16",
            "conntrack": {"maxPerCore": 0, "min": 0},
            "hostnameOverride": NODE_NAME,
        });
        fs::write(&config, text.to_string()).with_context(|| format!("write {}", config.display()))?;
        Ok(Self {
            program: Components::find()?.program("kube-proxy")?,
            place: world.host_pod("kube-proxy")?,
            config,
            log: world.home().path("logs").join("kube-proxy.log"),
            running: Mutex::new(None),
        })
    }

    /// Starts it and waits for nothing.
    pub fn start(&self) -> Result<()> {
        let mut command = self.place.command(&self.program)?;
        command.arg("--config").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start("kube-proxy", &mut command, self.log.clone())?;
        *self.running.lock().expect("nobody panicked") = Some(process);
        Ok(())
    }

    /// Ends it; its rules stay.
    pub fn end(&self) {
        if let Some(mut process) = self.running.lock().expect("nobody panicked").take() {
            process.kill();
        }
    }

    /// Takes its rules away.
    pub fn flush(&self) -> Result<()> {
        self.place.run("nft", &["flush", "ruleset"]).map(drop)
    }

    /// Its process.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.running.lock().expect("nobody panicked").as_ref().context("kube-proxy does not run")?.id())
    }
}
