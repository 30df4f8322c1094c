//! A pod of a cluster, and programs started in it.

use super::kubectl::Kubectl;
use crate::client::Client;
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::process::Command;

/// A pod by name. It may not exist.
#[derive(Clone, Debug)]
pub struct Pod {
    kubectl: Kubectl,
    namespace: String,
    name: String,
}

impl Pod {
    pub(super) fn new(kubectl: Kubectl, namespace: &str, name: &str) -> Self {
        Self { kubectl, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kubectl exec` of a command, not yet run. What it starts is in the container's namespaces and cgroup, as the
    /// container's own process.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let place = ["exec", "--stdin", "--quiet", "--namespace", &self.namespace, &self.name, "--"];
        self.kubectl.command(&[&place, words].concat())
    }

    /// Runs a command inside to its end and returns its stdout.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        let place = ["exec", "--quiet", "--namespace", &self.namespace, &self.name, "--"];
        self.kubectl.run(&[&place, words].concat())
    }

    /// Starts the tests' client inside, for a test to direct. The pod's image is
    /// [`PROGRAMS`](super::PROGRAMS).
    pub fn client(&self) -> Result<Client> {
        let log = self.kubectl.place().logs().join(format!("client-{}-{}.log", self.namespace, self.name));
        Client::over(&format!("mesh-client in {}", self.name), self.command(&["/mesh-client", "obey"])?, log)
    }

    /// Its addresses, that of the cluster's first family first.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        let pod = self.kubectl.get(&["pod", "--namespace", &self.namespace, &self.name])?;
        let listed = pod["status"]["podIPs"].as_array().with_context(|| format!("{} has no address", self.name))?;
        let parsed = listed.iter().map(|entry| Ok(entry["ip"].as_str().unwrap_or_default().parse()?));
        parsed.collect()
    }
}
