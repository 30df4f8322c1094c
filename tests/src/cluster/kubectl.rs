//! kubectl, as one user of one cluster.

use super::place::Place;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// kubectl with a file of access. Clones are the same user.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    place: Place,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn new(program: PathBuf, place: Place, kubeconfig: PathBuf) -> Self {
        Self { program, place, kubeconfig }
    }

    /// `kubectl <arguments>`, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.place.command(&self.program)?;
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.place.folder().join("kubectl-cache")).args(arguments);
        Ok(command)
    }

    /// Runs it to its end and returns its stdout; fails with its stderr.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        finish(self.command(arguments)?, arguments)
    }

    /// Runs it with `input` on its stdin: `apply -f -`.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(arguments)?;
        // A file, not a pipe: neither side can wait for the other.
        let mut file = temporary(&self.place.folder().join("kubectl-input"))?;
        file.write_all(input.as_bytes()).and_then(|()| file.rewind()).context("write kubectl's input")?;
        command.stdin(file);
        finish(command, arguments)
    }

    /// Creates or changes these objects, YAML or JSON, by server-side apply, whoever owned a field before.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.run_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], manifests).map(drop)
    }

    /// Creates these objects, which must not exist. Of the ways to make thousands this is the fastest.
    pub fn create(&self, manifests: &str) -> Result<()> {
        self.run_with(&["create", "-f", "-"], manifests).map(drop)
    }

    /// Removes an object, and waits until it is gone: `delete(&["service", "web"])`.
    pub fn delete(&self, arguments: &[&str]) -> Result<()> {
        self.run(&[&["delete"], arguments].concat()).map(drop)
    }

    /// `kubectl get <arguments> -o json`, parsed.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.run(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&said).with_context(|| format!("kubectl get {arguments:?} said {said}"))
    }

    /// The user's file of access.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

fn finish(mut command: Command, arguments: &[&str]) -> Result<String> {
    let output = command.output().context("run kubectl")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "kubectl {}: {said}{complained}", arguments.join(" "));
    Ok(said.into_owned())
}

/// A file without a name, once it is open.
fn temporary(prefix: &Path) -> Result<File> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = prefix.with_extension(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.with_context(|| format!("make {}", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("unlink {}", path.display()))?;
    Ok(file)
}
