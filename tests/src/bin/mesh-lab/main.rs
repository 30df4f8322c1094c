//! The lab: an application from Kubernetes manifests on this machine, its traffic, and what happens to it.

mod acts;
mod cluster;
mod down;
mod enter;
mod figures;
mod hold;
mod keep;
mod lab;
mod promises;
mod screen;
mod shop;
mod table;
mod traffic;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A small online shop on this machine, served by mesh: its traffic, and what happens to it.
///
/// Pods are network namespaces with cgroups of their own; the machine's own network is not touched. The lab plays the
/// control plane: Deployments become pods that answer who they are, Services get addresses, endpoints follow. It shows who
/// reached whom, and says aloud what it does next. Exit code: 0 when all was as promised, 1 when not, 2 when the lab
/// could not be brought up.
#[derive(Parser, Debug)]
#[command(
    name = "mesh-lab",
    bin_name = "cargo xtask lab",
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    up: Up,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What is brought up.
#[derive(clap::Args, Debug)]
struct Up {
    /// Your own application in place of the shop: a file or a directory of Kubernetes manifests.
    #[arg(long, value_name = "FILE")]
    manifests: Option<PathBuf>,
    /// Leave it up at the end, and print commands to try.
    #[arg(long)]
    keep: bool,
    /// Show the shop on a real cluster of two nodes instead: Kubernetes' own programs, and mesh as its DaemonSet.
    #[arg(long)]
    cluster: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Remove every trace of labs and tests: kept, crashed, or running.
    Down(down::Arguments),
    /// Run a command in a pod of a lab that is up, as: exec client-1 -- curl http://10.96.0.20
    Exec(enter::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        None if arguments.up.cluster => cluster::run(&arguments.up),
        None => lab::run(&arguments.up),
        Some(Verb::Down(arguments)) => arguments.run().map(|()| ExitCode::SUCCESS),
        Some(Verb::Exec(arguments)) => arguments.run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
