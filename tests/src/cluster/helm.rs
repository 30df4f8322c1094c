//! helm, as the administrator of one cluster.

use super::components::Components;
use super::kubectl::Kubectl;
use super::place::Place;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// The real helm with a file of access.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    place: Place,
    kubeconfig: PathBuf,
}

impl Helm {
    /// For the cluster of this kubectl, as the same user.
    pub(super) fn beside(kubectl: &Kubectl) -> Result<Self> {
        let (place, kubeconfig) = (kubectl.place().clone(), kubectl.kubeconfig().to_owned());
        Ok(Self { program: Components::find()?.program("helm")?, place, kubeconfig })
    }

    /// `helm <arguments>`, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.place.command(&self.program)?;
        command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        // What it keeps is the cluster's, not the person's.
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(folder, self.place.folder().join("helm"));
        }
        Ok(command)
    }

    /// Runs it to its end and returns its stdout; fails with its stderr.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments)?.output().context("run helm")?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "helm {}: {said}{complained}", arguments.join(" "));
        Ok(said.into_owned())
    }
}
