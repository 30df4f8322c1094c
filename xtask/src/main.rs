//! What a developer types: `cargo xtask setup`, `build-ebpf`, `lab`, `test`, `bench`.

mod ebpf;
mod process;
mod setup;
mod toolchain;
mod workspace;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a developer of mesh types.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find what this machine lacks, and install it
    Setup {
        /// Only report; fail when something is missing
        #[arg(long)]
        check: bool,
    },
    /// Build the programs for the kernel, and print each with its type and size
    BuildEbpf {
        /// Build from nothing, and with exactly the locked versions: for an object to be released
        #[arg(long)]
        release: bool,
        /// Fail when the committed object is not byte for byte what the source gives; change nothing
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    match *verb {
        Verb::Setup { check } => setup::run(if check { setup::Mode::Check } else { setup::Mode::Install }).map(drop),
        Verb::BuildEbpf { release, check } => {
            let Some(toolchain) = setup::run(setup::Mode::Needed)? else { bail!("the programs cannot be built here") };
            let then = if check { ebpf::Then::Compare } else { ebpf::Then::Update };
            ebpf::run(&toolchain, release, then).map(drop)
        }
    }
}
