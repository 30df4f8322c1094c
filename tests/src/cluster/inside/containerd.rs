//! containerd, with the images that a node starts with.

use super::super::images;
use super::super::settings::Settings;
use super::supervisor::{Supervisor, Unit};
use super::write;
use crate::wait::wait_for_within;
use anyhow::Result;
use std::ffi::OsString;
use std::time::Duration;

/// Where it answers, in the node.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// The program with its configuration, which is written.
pub fn unit(settings: &Settings) -> Result<Unit> {
    let file = settings.folder.join("containerd.toml");
    // Volatile: no container outlives its node, so that its end need not wait for the whole disk to be written.
    // The hook in runc's place drops limits for which no cgroup controller is there; see `mesh-runc`.
    let (runc, pause) = (settings.runc.display(), images::PAUSE);
    write(
        &file,
        &format!(
            "version = 3\n\
             root = '/var/lib/containerd'\n\
             state = '/run/containerd'\n\
             [grpc]\n\
             address = '{SOCKET}'\n\
             [plugins.'io.containerd.snapshotter.v1.overlayfs']\n\
             mount_options = ['volatile']\n\
             [plugins.'io.containerd.cri.v1.images']\n\
             snapshotter = 'overlayfs'\n\
             [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
             sandbox = '{pause}'\n\
             [plugins.'io.containerd.cri.v1.runtime']\n\
             disable_apparmor = true\n\
             restrict_oom_score_adj = true\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd]\n\
             default_runtime_name = 'runc'\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
             runtime_type = 'io.containerd.runc.v2'\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n\
             BinaryName = '{runc}'\n\
             SystemdCgroup = false\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
             bin_dirs = ['{plugins}']\n\
             conf_dir = '{network}'\n",
            plugins = settings.plugins.display(),
            network = super::network::FOLDER,
        ),
    )?;
    Ok(Unit { program: "containerd", arguments: vec!["--config".into(), file.into()] })
}

/// Waits until it answers, and gives it the images.
pub fn import(settings: &Settings, supervisor: &Supervisor) -> Result<()> {
    wait_for_within(Duration::from_mins(1), "containerd", || supervisor.run("ctr", &["version".into()]))?;
    for image in &settings.images {
        let words = ["--namespace", "k8s.io", "images", "import", "--snapshotter", "overlayfs"];
        let mut arguments: Vec<OsString> = words.into_iter().map(Into::into).collect();
        arguments.push(image.into());
        supervisor.run("ctr", &arguments)?;
    }
    Ok(())
}
