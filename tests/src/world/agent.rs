//! The agent of a world: the real program, started, killed, and asked.

use super::cgroup::Cgroup;
use super::home::Home;
use super::netns::Netns;
use super::pod::command_inside;
use super::process::Process;
use crate::programs;
use crate::wait::wait_for;
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, setsid};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The node's name, as the manifests' endpoints have it.
pub const NODE_NAME: &str = "node-1";

/// `mesh agent` of one world. It runs in the node's network namespace, in a cgroup that its programs do not cover.
#[derive(Debug)]
pub struct Agent {
    name: String,
    node: Netns,
    cgroup: Cgroup,
    covered: PathBuf,
    pins: PathBuf,
    socket: PathBuf,
    manifests: PathBuf,
    kubeconfig: Mutex<Option<PathBuf>>,
    arguments: Mutex<Vec<String>>,
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Agent {
    pub(super) fn new(home: &Home, node: Netns, cgroup: Cgroup, covered: PathBuf) -> Self {
        Self {
            name: NODE_NAME.to_owned(),
            node,
            cgroup,
            covered,
            pins: home.pins(),
            socket: home.path("mesh.sock"),
            manifests: home.path("manifests"),
            kubeconfig: Mutex::new(None),
            arguments: Mutex::default(),
            log: home.path("logs").join("agent.log"),
            running: Mutex::new(None),
        }
    }

    /// Another agent of the same node, not running, with a log of its own: a rival, until it is given other places.
    #[must_use]
    pub fn another(&self, name: &str) -> Self {
        Self {
            name: self.name.clone(),
            node: self.node.clone(),
            cgroup: self.cgroup.clone(),
            covered: self.covered.clone(),
            pins: self.pins.clone(),
            socket: self.socket.clone(),
            manifests: self.manifests.clone(),
            kubeconfig: Mutex::new(self.kubeconfig()),
            arguments: Mutex::new(self.arguments()),
            log: self.log.with_file_name(format!("{name}.log")),
            running: Mutex::new(None),
        }
    }

    /// With other pins, for another cgroup.
    #[must_use]
    pub fn over(mut self, pins: PathBuf, cgroup: &Cgroup) -> Self {
        self.pins = pins;
        cgroup.path().clone_into(&mut self.covered);
        self
    }

    /// In the network namespace of another node, over the pods of its own.
    #[must_use]
    pub fn within(mut self, node: Netns) -> Self {
        self.node = node;
        self
    }

    /// Of a node of this name, as endpoints have it.
    #[must_use]
    pub fn of(mut self, node: &str) -> Self {
        node.clone_into(&mut self.name);
        self
    }

    /// With another API socket.
    #[must_use]
    pub fn answering(mut self, socket: PathBuf) -> Self {
        self.socket = socket;
        self
    }

    /// With another file to log to.
    #[must_use]
    pub fn logging(mut self, log: PathBuf) -> Self {
        self.log = log;
        self
    }

    /// From its next start on it follows an API server instead of the manifests.
    pub fn follow(&self, kubeconfig: impl Into<PathBuf>) {
        *self.kubeconfig.lock().unwrap_or_else(PoisonError::into_inner) = Some(kubeconfig.into());
    }

    fn kubeconfig(&self) -> Option<PathBuf> {
        self.kubeconfig.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From its next start on it has these arguments, too.
    pub fn always(&self, arguments: &[&str]) {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        *self.arguments.lock().unwrap_or_else(PoisonError::into_inner) = arguments;
    }

    fn arguments(&self) -> Vec<String> {
        self.arguments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts it and waits until it serves what the manifests say.
    pub fn start(&self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it, with further arguments if there are any, and waits for nothing.
    pub fn spawn_with(&self, arguments: &[&str]) -> Result<()> {
        self.launch(command_inside(programs::find("mesh")?, &self.node, &self.cgroup)?, arguments)
    }

    /// Starts it as root with these capabilities and no other (`BPF`, `NET_ADMIN`), and waits for nothing.
    pub fn spawn_able(&self, capabilities: &[&str]) -> Result<()> {
        let mut command = command_inside("setpriv", &self.node, &self.cgroup)?;
        command.args(able(capabilities)).arg(programs::find("mesh")?);
        self.launch(command, &[])
    }

    fn launch(&self, mut command: Command, arguments: &[&str]) -> Result<()> {
        let mut running = self.running();
        ensure!(running.as_mut().is_none_or(|process| process.ended().is_some()), "the agent is running");
        command.args(["agent", "--node-name", &self.name]);
        match self.kubeconfig() {
            Some(kubeconfig) => command.arg("--kubeconfig").arg(kubeconfig),
            None => command.arg("--manifests").arg(&self.manifests),
        };
        command.arg("--cgroup").arg(&self.covered).arg("--pins").arg(&self.pins);
        command.arg("--socket").arg(&self.socket).args(self.arguments()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        *running = Some(Process::start("mesh agent", &mut command, self.log.clone())?);
        Ok(())
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&self) -> Result<()> {
        self.spawn_with(&[])
    }

    /// Waits until this agent answers and everything that the manifests say is in the maps.
    pub fn wait_ready(&self) -> Result<()> {
        let pid = self.id()?.as_raw();
        let ready = wait_for("the agent to be ready", || {
            if let Some(status) = self.running().as_mut().and_then(Process::ended) {
                return Ok(Err(anyhow!("it ended: {status}")));
            }
            let status = self.status().map_err(|error| format!("{error:#}"))?;
            let synced = status["sources"].as_array().is_some_and(|all| all.iter().all(|s| s["synced"] == true));
            let waiting = status["services"]["waiting"].as_u64();
            // The socket may still be that of an agent that was killed a moment ago.
            if status["pid"] == pid && synced && waiting == Some(0) { Ok(Ok(())) } else { Err(status.to_string()) }
        });
        ready.and_then(|ended| ended).with_context(|| format!("the agent said:\n{}", self.log()))
    }

    /// Waits until it ends by itself, and returns how.
    pub fn wait_ended(&self) -> Result<ExitStatus> {
        wait_for("the agent to end", || self.running().as_mut().context("not started")?.ended().context("it runs"))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.running().as_mut().context("the agent is not running")?.kill();
        *self.running() = None;
        Ok(())
    }

    /// Ends it with SIGTERM, which leaves the data path in place, and returns how it ended.
    pub fn stop(&self) -> Result<ExitStatus> {
        let mut process = self.running().take().context("the agent is not running")?;
        process.signal(Signal::SIGTERM)?;
        process.wait()
    }

    /// SIGKILL, and a new one over its pins.
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    /// Takes the data path away: `mesh unload`, on the node.
    pub fn unload(&self) -> Result<()> {
        let mut command = command_inside(programs::find("mesh")?, &self.node, &self.cgroup)?;
        command.arg("unload").arg("--cgroup").arg(&self.covered).arg("--pins").arg(&self.pins);
        let output = command.output().context("run mesh unload")?;
        ensure!(output.status.success(), "mesh unload: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The same as root with these capabilities and no other.
    pub fn unload_able(&self, capabilities: &[&str]) -> Result<()> {
        let mut command = command_inside("setpriv", &self.node, &self.cgroup)?;
        command.args(able(capabilities)).arg(programs::find("mesh")?);
        command.arg("unload").arg("--cgroup").arg(&self.covered).arg("--pins").arg(&self.pins);
        let output = command.output().context("run setpriv (package util-linux)")?;
        ensure!(output.status.success(), "mesh unload: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// `mesh <arguments> --socket <this agent's> -o json`, parsed.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.command(arguments)?;
        let output = command.args(["-o", "json"]).output().context("run mesh")?;
        // The exit code says how healthy the answer is; an answer it is all the same.
        serde_json::from_slice(&output.stdout).with_context(|| {
            let complained = String::from_utf8_lossy(&output.stderr);
            format!("{command:?}: {}: {}", output.status, complained.trim())
        })
    }

    /// `mesh <arguments> --socket <this agent's>`, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(programs::find("mesh")?);
        command.args(arguments).arg("--socket").arg(&self.socket);
        Ok(command)
    }

    /// `mesh status`.
    pub fn status(&self) -> Result<Value> {
        self.ask(&["status"])
    }

    /// The element of `mesh service list` that is this Service.
    pub fn service(&self, namespace: &str, name: &str) -> Result<Value> {
        let services = self.ask(&["service", "list", "-n", namespace])?;
        let Value::Array(services) = services else { bail!("mesh service list is no list: {services}") };
        let found = services.into_iter().find(|s| s["namespace"] == namespace && s["name"] == name);
        found.with_context(|| format!("mesh service list has no {namespace}/{name}"))
    }

    /// Its process id.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.running().as_ref().context("the agent is not running")?.id())
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.running().as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// What it wrote to stderr, all lives together.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The file of its API socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its directory of pins.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Arguments of setpriv: what a program that root starts may ever have, as a container's capabilities are.
fn able(capabilities: &[&str]) -> [String; 2] {
    let added: Vec<_> = capabilities.iter().map(|name| format!("+{}", name.to_lowercase())).collect();
    [format!("--bounding-set=-all,{}", added.join(",")), "--inh-caps=-all".to_owned()]
}
