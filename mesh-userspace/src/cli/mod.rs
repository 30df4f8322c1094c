//! The command line: one file a verb.
//!
//! To add a verb: `cli/<verb>.rs` with its arguments and `run`, a variant of [`Verb`], and its arm in [`run`].

#![expect(clippy::doc_markdown, reason = "these comments are the help, read in a terminal")]

mod agent;
mod arguments;
mod asking;
mod backend;
mod completions;
mod connection;
mod crd;
mod doctor;
mod events;
mod exit;
mod explain;
mod man;
mod output;
mod plan;
mod policy;
mod probe;
mod service;
mod status;
mod table;
mod unload;
mod words;

use clap::{CommandFactory, Parser, Subcommand};
use exit::Exit;
use std::process::ExitCode;

/// A service mesh in the kernel: no sidecar, no proxy on the path.
///
/// Programs on the cgroup socket hooks send a pod's connect() to a chosen backend of the Service that it dialled. The
/// agent fills their maps from Kubernetes manifests; every other command asks a running agent, or this machine.
#[derive(Parser, Debug)]
#[command(name = "mesh", version, propagate_version = true, max_term_width = 100, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  Serve what the manifests in a directory say (as root):
    mesh agent --manifests ./manifests --node-name node-1
  See how it goes:
    mesh status
    mesh service list
  Ask what would become of a connection:
    mesh explain tcp 10.96.0.10:80
  Take the data path away again:
    mesh unload";

#[derive(Subcommand, Debug)]
enum Verb {
    Agent(agent::Arguments),
    Unload(unload::Arguments),
    Status(status::Arguments),
    #[command(visible_aliases = ["services", "svc"])]
    Service(service::Arguments),
    #[command(visible_aliases = ["policies", "pol"])]
    Policy(policy::Arguments),
    #[command(visible_alias = "backends")]
    Backend(backend::Arguments),
    #[command(visible_alias = "connections")]
    Connection(connection::Arguments),
    Events(events::Arguments),
    Explain(explain::Arguments),
    Plan(plan::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Crd(crd::Arguments),
    #[command(hide = true)]
    Probe(probe::Arguments),
}

/// The command, from the arguments to the exit code.
pub fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

fn run(verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Agent(arguments) => arguments.run(),
        Verb::Unload(arguments) => arguments.run(),
        Verb::Completions(arguments) => arguments.run(),
        Verb::Man(arguments) => arguments.run(),
        Verb::Crd(arguments) => arguments.run(),
        Verb::Status(arguments) => asking(arguments.run()),
        Verb::Service(arguments) => asking(arguments.run()),
        Verb::Policy(arguments) => asking(arguments.run()),
        Verb::Backend(arguments) => asking(arguments.run()),
        Verb::Connection(arguments) => asking(arguments.run()),
        Verb::Events(arguments) => asking(arguments.run()),
        Verb::Explain(arguments) => asking(arguments.run()),
        Verb::Plan(arguments) => asking(arguments.run()),
        Verb::Doctor(arguments) => asking(arguments.run()),
        Verb::Probe(arguments) => arguments.run(),
    }
}

/// Runs a verb that asks an agent.
fn asking(verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
}

/// The whole command, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_teaches_by_example() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
                assert!(command.get_about().is_some(), "{} says not what it does", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
