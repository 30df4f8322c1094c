//! What containerd runs in runc's place on a node of a test cluster: runc, without limits on resources.
//!
//! A node's cgroup may have no controllers, as on a machine that mounts cgroup2 beside version 1, and runc fails where a
//! limit cannot be set. Which devices a container may open stays as it was asked for.

use anyhow::{Context, Result};
use mesh_tests::cluster::Components;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "create") {
        let bundle = arguments.windows(2).find(|pair| pair[0] == "--bundle" || pair[0] == "-b");
        drop_limits(&bundle.map_or_else(PathBuf::new, |pair| PathBuf::from(&pair[1])).join("config.json"))?;
    }
    let error = Command::new(Components::find()?.program("runc")?).args(arguments).exec();
    Err(error).context("become runc")
}

fn drop_limits(path: &Path) -> Result<()> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut config: Value = serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
    if let Some(resources) = config.pointer_mut("/linux/resources") {
        *resources = json!({"devices": resources["devices"]});
        fs::write(path, config.to_string()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
