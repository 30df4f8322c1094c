//! `cargo xtask lint`: formatting, and clippy with every warning an error.

use crate::toolchain::Toolchain;
use crate::{ebpf, process};
use anyhow::{Result, ensure};

/// One lint: its name, and how it went.
pub type Outcome = (&'static str, Result<()>);

/// Every lint. Without a toolchain the programs cannot be compiled, and are left out.
pub fn run(toolchain: Option<&Toolchain>) -> Vec<Outcome> {
    let mut outcomes = vec![("rustfmt", format()), ("clippy", host())];
    if let Some(toolchain) = toolchain {
        outcomes.push(("clippy of the programs", programs(toolchain)));
    }
    outcomes
}

/// Says how a check went.
pub fn say(name: &str, outcome: &Result<()>) {
    match outcome {
        Ok(()) => println!("check {name} ... ok"),
        Err(error) => println!("check {name} ... FAILED: {error:#}"),
    }
}

/// The outcomes as one: an error that names each lint that failed.
pub fn verdict(outcomes: Vec<Outcome>) -> Result<()> {
    for (name, outcome) in &outcomes {
        say(name, outcome);
    }
    let failed: Vec<_> = outcomes.into_iter().filter_map(|(name, outcome)| outcome.is_err().then_some(name)).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn format() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn host() -> Result<()> {
    let members = ["clippy", "--workspace", "--exclude", "mesh-ebpf", "--all-targets"];
    process::run(process::cargo().args(members).args(["--", "--deny", "warnings"]))
}

fn programs(toolchain: &Toolchain) -> Result<()> {
    process::run(ebpf::cargo(toolchain, "clippy")?.args(["--", "--deny", "warnings"]))
}
