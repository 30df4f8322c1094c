//! `cargo xtask test`: everything that says whether the tree is right.

use crate::tally::Tally;
use crate::toolchain::Toolchain;
use crate::{components, ebpf, lint, process, setup, workspace};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// What to test.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Leave out the end-to-end tests, which need root
    #[arg(long)]
    pub unit: bool,
    /// Only the tests whose names hold this, and no lint; further arguments go to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Sets up, builds, runs every test and every check, and prints the totals, alone on the last line.
pub fn run(options: &Options) -> Result<ExitCode> {
    if !options.unit && !process::is_root() {
        bail!(
            "the end-to-end tests attach programs and make network namespaces: they need root. Run \
             `sudo -E env \"PATH=$PATH\" cargo xtask test`, or `cargo xtask test --unit` for what needs none"
        );
    }
    let started = Instant::now();
    let toolchain = setup::run(setup::Mode::Needed)?;
    let mut tally = Tally::default();

    if let Some(toolchain) = toolchain.as_ref() {
        check(&mut tally, ebpf::COMMITTED, &object(toolchain));
    }
    if !options.unit {
        components::prepare()?;
    }
    build(options)?;
    tests(options, &mut tally)?;
    if options.filter.is_empty() {
        for (name, outcome) in lint::run(toolchain.as_ref()) {
            check(&mut tally, name, &outcome);
        }
    }

    println!("\ntook {} s", started.elapsed().as_secs());
    println!("{}", tally.summary());
    Ok(if tally.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// In CI, and where the committed sources are under test, the committed object must be theirs. Elsewhere a developer is
/// at work on the programs: the tests run what the sources say now.
fn object(toolchain: &Toolchain) -> Result<()> {
    if workspace::is_ci() {
        return ebpf::run(toolchain, true, ebpf::Then::Compare).map(drop);
    }
    ebpf::prepare(toolchain)
}

fn check(tally: &mut Tally, name: &str, outcome: &Result<()>) {
    lint::say(name, outcome);
    tally.outcome(name, outcome.is_ok());
}

/// The packages under test: one choice for every call of cargo, so that all share one build.
fn cargo(verb: &str, options: &Options) -> Command {
    let mut command = process::cargo();
    command.args([verb, "--workspace", "--exclude", "mesh-ebpf"]);
    if options.unit {
        command.args(["--exclude", "mesh-tests"]);
    }
    command
}

/// Builds all at once: the end-to-end tests run the `mesh` binary, which `cargo test` alone may leave old.
fn build(options: &Options) -> Result<()> {
    process::run(cargo("build", options).arg("--all-targets"))
}

/// Runs the tests, shows what they write as they write it, and counts.
fn tests(options: &Options, tally: &mut Tally) -> Result<()> {
    let before = tally.clone();
    let mut command = cargo("test", options);
    command.arg("--no-fail-fast").args(&options.filter);
    command.env("MESH_BIN", workspace::target().join("debug/mesh"));
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {command:?}"))?;
    let mut output = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        tally.line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() && tally.failed() == before.failed() {
        // A test program that was killed, or never compiled, has no result to count.
        tally.outcome(&format!("cargo test: {status}"), false);
    }
    if tally.ran() == before.ran() {
        tally.outcome("no test ran", false);
    }
    Ok(())
}
