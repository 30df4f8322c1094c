//! A pod: a network namespace and a cgroup, and processes started inside both.

use super::cgroup::Cgroup;
use super::netns::Netns;
use super::network::Addresses;
use super::process::Process;
use crate::client::Client;
use crate::programs;
use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use nix::unistd::setsid;
use std::ffi::OsStr;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A pod. Clones are the same pod.
#[derive(Clone, Debug)]
pub struct Pod(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    netns: Netns,
    cgroup: Cgroup,
    addresses: Addresses,
    network: PodNetwork,
    logs: PathBuf,
    started: AtomicU32,
}

/// Whose network a pod is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PodNetwork {
    /// Its own.
    Own,
    /// The node's: `hostNetwork: true`.
    Host,
}

impl Pod {
    pub(super) fn new(
        name: &str,
        (netns, addresses, network): (Netns, Addresses, PodNetwork),
        cgroup: Cgroup,
        logs: PathBuf,
    ) -> Self {
        let name = name.to_owned();
        Self(Arc::new(Parts { name, netns, cgroup, addresses, network, logs, started: AtomicU32::new(0) }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> IpAddr {
        self.0.addresses.v4.into()
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> IpAddr {
        self.0.addresses.v6.into()
    }

    /// `address:port` of its IPv4 address.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.v4(), port).into()
    }

    /// `address:port` of its IPv6 address.
    pub fn at_v6(&self, port: u16) -> SocketAddr {
        (self.v6(), port).into()
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.0.netns
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.0.cgroup
    }

    /// A command that will run inside: in its network namespace, and in its cgroup from before its first socket.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        command_inside(program, self.netns(), self.cgroup())
    }

    /// Such a command in a session of its own: Ctrl-C at the terminal is for the lab, which takes all down in order.
    pub(crate) fn detached(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.command(program)?;
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        Ok(command)
    }

    /// Runs a program inside to its end and returns its stdout; fails with its stderr.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program)?;
        let output = command.args(arguments).output().with_context(|| format!("run {command:?}"))?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{command:?} in {}: {}\n{said}{complained}", self.name(), output.status);
        Ok(said.into_owned())
    }

    /// Runs a Python script inside and returns its stdout.
    pub fn python(&self, script: &str) -> Result<String> {
        self.run("python3", &["-c", script])
    }

    /// Fetches an address with curl, as `http://10.96.0.10/`, and returns the body.
    pub fn curl(&self, url: &str) -> Result<String> {
        self.run("curl", &["--silent", "--show-error", "--fail", "--max-time", "10", "--globoff", url])
    }

    /// Starts a program inside that says `ready` on stdout, and waits for that.
    pub fn start(&self, program: impl AsRef<Path>, arguments: &[String]) -> Result<Process> {
        let program = program.as_ref();
        let mut command = self.detached(program)?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        Process::start_ready(&format!("{name} in {}", self.name()), command.args(arguments), self.next_log(&name))
    }

    /// Starts the echo server inside; see [`crate::echo`] for what it answers.
    pub fn serve(&self, ports: &[crate::echo::Listen]) -> Result<Process> {
        self.serve_after(Duration::ZERO, ports)
    }

    /// Starts an echo server that answers so long after it was asked, to a millisecond.
    pub fn serve_after(&self, delay: Duration, ports: &[crate::echo::Listen]) -> Result<Process> {
        let mut arguments = vec!["--name".to_owned(), self.name().to_owned()];
        arguments.extend(["--delay".to_owned(), delay.as_millis().to_string()]);
        arguments.extend(ports.iter().map(ToString::to_string));
        self.start(programs::find("mesh-echo")?, &arguments)
    }

    /// Starts a client inside, for tests to direct.
    pub fn client(&self) -> Result<Client> {
        Client::start(self)
    }

    /// Compiles a C program with `cc`, to run inside with [`Pod::run`].
    pub fn compile(&self, name: &str, source: &str) -> Result<PathBuf> {
        let output = self.0.logs.join(format!("{name}-{}", self.name()));
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Werror", "-pthread", "-x", "c", "-o"]).arg(&output).arg("-");
        let mut child = cc.stdin(std::process::Stdio::piped()).spawn().context("run cc")?;
        child.stdin.take().context("cc has an input")?.write_all(source.as_bytes()).context("write to cc")?;
        ensure!(child.wait().context("wait for cc")?.success(), "cc does not compile {name}");
        Ok(output)
    }

    pub(crate) fn next_log(&self, program: &str) -> PathBuf {
        let number = self.0.started.fetch_add(1, Ordering::Relaxed);
        self.0.logs.join(format!("{}-{program}-{number}.log", self.name()))
    }

    /// Ends the pod as a node does: its processes are killed, then its network goes.
    pub fn delete(self) -> Result<()> {
        self.cgroup().remove()?;
        if self.0.network == PodNetwork::Own {
            Netns::unbind(self.netns().path());
        }
        Ok(())
    }
}

/// A command that moves itself into a namespace and a cgroup before its program starts.
pub(crate) fn command_inside(program: impl AsRef<OsStr>, netns: &Netns, cgroup: &Cgroup) -> Result<Command> {
    let (namespace, entrance) = (netns.file(), cgroup.entrance()?);
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only write and setns run, plain system calls on descriptors opened before.
    unsafe {
        command.pre_exec(move || {
            (&entrance).write_all(b"0")?;
            Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?)
        });
    }
    Ok(command)
}
