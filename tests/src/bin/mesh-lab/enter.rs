//! `mesh-lab exec`: a command in a pod of a lab that is up.

use crate::lab::PREFIX;
use anyhow::{Context, Result};
use mesh_tests::world::Home;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Where to run what.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The pod, as client-1 or web-2.
    pod: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// The lab, when several are up.
    #[arg(long)]
    lab: Option<String>,
}

impl Arguments {
    /// Becomes that command.
    pub fn run(self) -> Result<ExitCode> {
        let homes = Home::all(self.lab.as_deref().unwrap_or(PREFIX));
        let home = homes.first().context("no lab is up: start one with `cargo xtask lab --keep`")?;
        let error = home.command(&self.pod, &self.command[0])?.args(&self.command[1..]).exec();
        Err(error).with_context(|| format!("run {}", self.command[0]))
    }
}
