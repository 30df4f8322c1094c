//! A node from the inside: what its first process does.

mod containerd;
mod kube_proxy;
mod kubelet;
mod mounts;
mod network;
mod supervisor;

use super::settings::Settings;
use crate::wait::wait_for_within;
use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{sethostname, setsid};
use std::convert::Infallible;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use supervisor::Supervisor;

/// The name of the settings in a node's folder.
pub const SETTINGS: &str = "settings.json";
/// The name of the file with the number of a node's first process, as the machine counts.
pub const FIRST_PROCESS: &str = "init.pid";

/// How long the API server may take: it starts at the same time.
const API: Duration = Duration::from_mins(2);

/// Makes the node's namespaces around the present network namespace and cgroup, runs its first process in them, and ends
/// when that ends. Killing this process kills the node.
pub fn start(folder: &Path) -> Result<ExitStatus> {
    let namespaces = [
        CloneFlags::CLONE_NEWNS,
        CloneFlags::CLONE_NEWPID,
        CloneFlags::CLONE_NEWUTS,
        CloneFlags::CLONE_NEWIPC,
        CloneFlags::CLONE_NEWCGROUP,
    ];
    unshare(namespaces.into_iter().collect()).context("make the node's namespaces")?;
    let mut init = Command::new(std::env::current_exe().context("find this program")?);
    init.arg("init").arg(folder).stdin(Stdio::null());
    // SAFETY: prctl and setsid are plain system calls.
    unsafe {
        init.pre_exec(|| {
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(setsid().map(drop)?)
        });
    }
    let mut init = init.spawn().context("start the node's first process")?;
    fs::write(folder.join(FIRST_PROCESS), init.id().to_string()).context("say which process it is")?;
    init.wait().context("wait for the node's first process")
}

/// The node's first process: furnishes the namespaces, starts what a node runs, and keeps it running.
pub fn init(folder: &Path) -> Result<Infallible> {
    let settings = fs::read(folder.join(SETTINGS)).context("read the node's settings")?;
    let settings: Settings = serde_json::from_slice(&settings).context("the node's settings")?;
    sethostname(&settings.name).context("name the node")?;
    mounts::furnish(&settings)?;
    own_cgroup()?;

    let mut supervisor = Supervisor::new(settings.folder.join("logs"), &settings.programs);
    network::configure(&settings)?;
    supervisor.start(containerd::unit(&settings)?)?;
    containerd::import(&settings, &supervisor)?;
    wait_for_within(API, "the API server", || {
        fs::metadata(&settings.kubeconfig)?;
        TcpStream::connect_timeout(&settings.api.into(), Duration::from_secs(1)).map(drop)
    })?;
    supervisor.start(kubelet::unit(&settings)?)?;
    if let Some(kubeconfig) = &settings.kube_proxy {
        supervisor.start(kube_proxy::unit(&settings, kubeconfig)?)?;
    }
    supervisor.keep_running()
}

/// Leaves the node's root cgroup to the kubelet.
fn own_cgroup() -> Result<()> {
    let own = Path::new("/sys/fs/cgroup/system");
    fs::create_dir_all(own).context("make the cgroup of the node's own programs")?;
    fs::write(own.join("cgroup.procs"), "0").context("enter the cgroup of the node's own programs")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
