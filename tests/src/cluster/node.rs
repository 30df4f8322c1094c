//! A node from the outside.

use super::inside::{FIRST_PROCESS, SETTINGS};
use super::place::Place;
use super::settings::Settings;
use crate::programs;
use crate::wait::wait_for;
use crate::world::{Cgroup, Home, Process};
use anyhow::{Context, Result, ensure};
use nix::unistd::{Pid, setsid};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A node: kubelet, containerd and what runs on it, in namespaces and a cgroup of its own.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    cgroup: Cgroup,
    programs: PathBuf,
}

/// The name of a node's cgroup for its own programs.
const SYSTEM: &str = "system";

impl Node {
    /// Starts a node and waits until its first process is there.
    pub(super) fn start(settings: &Settings, place: &Place, cgroup: Cgroup) -> Result<(Self, Process)> {
        let text = serde_json::to_string_pretty(settings)?;
        fs::write(settings.folder.join(SETTINGS), text).context("write the node's settings")?;
        let mut command = place.command(&programs::find("mesh-node")?)?;
        command.arg("start").arg(&settings.folder).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        let mut process = Process::start(&settings.name, &mut command, place.logs().join("node.log"))?;
        let name = settings.name.clone();
        let node = Self { name, folder: settings.folder.clone(), cgroup, programs: settings.programs.clone() };
        wait_for(&format!("the first process of {}", node.name), || {
            ensure!(process.ended().is_none(), "it has ended: {}", process.log());
            node.first_process().map(drop)
        })?;
        Ok((node, process))
    }

    /// A node of a cluster that somebody else has started.
    pub(super) fn open(home: &Home, name: &str) -> Result<Self> {
        let folder = home.path(name);
        let settings = fs::read(folder.join(SETTINGS)).with_context(|| format!("there is no {name}"))?;
        let settings: Settings = serde_json::from_slice(&settings).context("the node's settings")?;
        let cgroup = Cgroup::at(home.cgroup()?.join(name));
        Ok(Self { name: name.to_owned(), folder, cgroup, programs: settings.programs })
    }

    /// Its name: `node-1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cgroup, in which its pods are.
    pub fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// Its first process, as this machine counts.
    pub fn first_process(&self) -> Result<Pid> {
        let text = fs::read_to_string(self.folder.join(FIRST_PROCESS)).context("its first process is not there yet")?;
        text.trim().parse().map(Pid::from_raw).with_context(|| format!("its first process is {text:?}"))
    }

    /// A command that will run on the node: in all its namespaces, as one of its own programs.
    pub fn command(&self, program: &str) -> Result<Command> {
        let entrance = self.cgroup.path().join(SYSTEM).join("cgroup.procs");
        let entrance = fs::OpenOptions::new().write(true).open(&entrance);
        let entrance = entrance.with_context(|| format!("{} is not up", self.name))?;
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.first_process()?.to_string(), "--"]);
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap_or_default());
        command.arg("env").arg(format!("PATH={path}")).arg(program);
        // SAFETY: between fork and exec only write runs, a plain system call on a descriptor opened before.
        unsafe { command.pre_exec(move || (&entrance).write_all(b"0")) };
        Ok(command)
    }

    /// Runs a command on the node to its end and returns its stdout: `enter(&["nft", "list", "ruleset"])`.
    pub fn enter(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("a command has a program")?;
        let output = self.command(program)?.args(arguments).output().context("run nsenter (package util-linux)")?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{} on {}: {said}{complained}", words.join(" "), self.name);
        Ok(said.into_owned())
    }

    /// A path of the node's file system, as this process sees it.
    pub fn path(&self, path: &Path) -> Result<PathBuf> {
        let root = PathBuf::from(format!("/proc/{}/root", self.first_process()?));
        Ok(root.join(path.strip_prefix("/").unwrap_or(path)))
    }

    /// Gives the node's containerd an image, from an archive anywhere on this machine.
    pub fn load(&self, archive: &Path) -> Result<()> {
        let inside = self.folder.join("load.tar");
        fs::copy(archive, &inside).with_context(|| format!("copy {}", archive.display()))?;
        let path = inside.display().to_string();
        self.enter(&["ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "overlayfs", &path])?;
        fs::remove_file(&inside).context("remove the copy of the image")
    }

    /// What a program of the node said: `log("kubelet")`, `log("containerd")`, `log("kube-proxy")`, `log("node")`.
    pub fn log(&self, program: &str) -> String {
        fs::read_to_string(self.folder.join("logs").join(format!("{program}.log"))).unwrap_or_default()
    }
}
