//! Work on a cluster that is up.

use crate::PREFIX;
use anyhow::{Context, Result};
use mesh_tests::cluster::Standing;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;

/// Becomes kubectl.
pub fn kubectl(cluster: Option<&str>, arguments: &[String]) -> Result<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error = Standing::find(PREFIX, cluster)?.kubectl()?.command(&arguments)?.exec();
    Err(error).context("run kubectl")
}

/// Becomes helm.
pub fn helm(cluster: Option<&str>, arguments: &[String]) -> Result<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error = Standing::find(PREFIX, cluster)?.helm()?.command(&arguments)?.exec();
    Err(error).context("run helm")
}

/// Becomes a command on a node.
pub fn enter(cluster: Option<&str>, node: &str, command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command has a program")?;
    let error = Standing::find(PREFIX, cluster)?.node(node)?.command(program)?.args(arguments).exec();
    Err(error).with_context(|| format!("run {program}"))
}

/// Says what is up: its nodes, and every pod.
pub fn status() -> Result<()> {
    let mut said = String::new();
    let all = Standing::all(PREFIX);
    if all.is_empty() {
        said += "no cluster is up\n";
    }
    for cluster in all {
        said = said + cluster.name() + "\n";
        for words in [["get", "nodes", "--output", "wide"].as_slice(), &["get", "pods", "--all-namespaces"]] {
            said = said + &cluster.kubectl()?.run(words)? + "\n";
        }
    }
    // A reader that has gone (`| head`) wants no more.
    io::stdout().write_all(said.as_bytes()).ok();
    Ok(())
}
