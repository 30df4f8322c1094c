//! `cargo xtask lab`, `bench` and `cluster`: builds what they run, and becomes it.

use crate::{components, ebpf, process, setup, workspace};
use anyhow::{Context, Result, bail};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A program of the package `mesh-tests`.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The name of its binary.
    pub binary: &'static str,
    /// Whether its figures ask for an optimised build. A debug build is there sooner.
    pub optimised: bool,
}

/// The shop on this machine.
pub const LAB: Program = Program { binary: "mesh-lab", optimised: false };

/// A real cluster.
pub const CLUSTER: Program = Program { binary: "mesh-cluster", optimised: false };

/// The measurements.
pub const BENCH: Program = Program { binary: "mesh-bench", optimised: true };

/// Sets up, builds, and replaces this process by the program.
pub fn run(program: Program, arguments: &[OsString]) -> Result<Infallible> {
    let folder = workspace::target().join(if program.optimised { "release" } else { "debug" });
    let is = |names: &[&str]| arguments.iter().any(|argument| names.iter().any(|name| argument == *name));
    let help = is(&["--help", "-h", "help"]);
    if !help && !process::is_root() {
        bail!(
            "network namespaces and programs in the kernel need root. Run \
             `sudo -E env \"PATH=$PATH\" cargo xtask ...` with the same arguments"
        );
    }
    // What only takes away, or looks, must work in a tree that does not compile.
    let light = verb(arguments).is_some_and(|verb| ["down", "status", "kubectl", "helm", "enter"].contains(&verb));
    if !(light && folder.join(program.binary).exists()) {
        build(program, help || light)?;
    }
    let of_cluster = program.binary == CLUSTER.binary
        || (program.binary == LAB.binary && is(&["--cluster"]))
        || is(&["--kubernetes"]);
    if of_cluster && !help && !light {
        components::prepare()?;
    }
    let mut command = Command::new(folder.join(program.binary));
    command.args(arguments).env("MESH_BIN", folder.join("mesh")).current_dir(caller());
    Err(command.exec()).with_context(|| format!("start {command:?}"))
}

/// What is to be done: the first argument, or the one behind `--cluster NAME`.
fn verb(arguments: &[OsString]) -> Option<&str> {
    let named = arguments.first().is_some_and(|first| first == "--cluster");
    arguments.get(if named { 2 } else { 0 })?.to_str()
}

fn build(program: Program, only_text: bool) -> Result<()> {
    if !only_text && let Some(toolchain) = setup::run(setup::Mode::Needed)? {
        ebpf::prepare(&toolchain)?;
    }
    let mut cargo = process::cargo();
    // Every binary: the lab's clients and servers are binaries too. The same packages as for the tests, so that both share one
    // build.
    cargo.args(["build", "--workspace", "--exclude", "mesh-ebpf", "--bins"]);
    if program.optimised {
        cargo.arg("--release");
    }
    process::run(&mut cargo)
}

/// Where the developer stands: relative paths among the arguments mean that folder.
fn caller() -> std::path::PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_path_buf())
}
