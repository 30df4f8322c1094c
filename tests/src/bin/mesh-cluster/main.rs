//! A real Kubernetes cluster on this machine, for people.

mod down;
mod up;
mod work;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// How the names of clusters that people start begin.
const PREFIX: &str = "mesh-cluster-up";

/// A real Kubernetes cluster on this machine.
///
/// etcd, API server, controllers, scheduler, and nodes with kubelet, containerd and CoreDNS: Kubernetes' own programs. Each
/// node is a network, mount, process, host-name, IPC and cgroup namespace of its own; the machine's network, folders and
/// settings are not touched. Pods and Services have IPv4 and IPv6 addresses.
///
///   cargo xtask cluster up --nodes 2 --proxy mesh
///   cargo xtask cluster kubectl get pods --all-namespaces
///   cargo xtask cluster enter node-1 -- nft list ruleset
///   cargo xtask cluster down
#[derive(Parser, Debug)]
#[command(name = "mesh-cluster", bin_name = "cargo xtask cluster", verbatim_doc_comment, max_term_width = 100)]
struct Arguments {
    /// Which one, by name, where several are up. For down, too: without it all go.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Start a cluster and leave it up.
    Up(up::Arguments),
    /// Remove every trace of such clusters, also after a crash.
    Down,
    /// Say what is up, and how it is.
    Status,
    #[command(flatten)]
    Work(Work),
}

/// Work on a cluster that is up.
#[derive(Subcommand, Debug)]
enum Work {
    /// Run kubectl as the administrator, as: kubectl get nodes
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Arguments of kubectl.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run helm as the administrator, as: helm list --all-namespaces
    #[command(disable_help_flag = true)]
    Helm {
        /// Arguments of helm.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command on a node, as: enter node-1 -- nft list ruleset
    Enter {
        /// The node.
        node: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let Arguments { cluster, verb } = Arguments::parse();
    let cluster = cluster.as_deref();
    let done = match verb {
        Verb::Up(arguments) => arguments.run(),
        Verb::Down => down::run(cluster),
        Verb::Status => work::status(),
        Verb::Work(Work::Kubectl { arguments }) => work::kubectl(cluster, &arguments),
        Verb::Work(Work::Helm { arguments }) => work::helm(cluster, &arguments),
        Verb::Work(Work::Enter { node, command }) => work::enter(cluster, &node, &command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
