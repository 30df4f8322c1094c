//! The first process of a node of a test cluster, and of the pods on it.

use anyhow::Result;
use clap::Parser;
use mesh_tests::cluster::inside;
use std::path::PathBuf;
use std::process::ExitCode;

/// A node of a cluster on this machine. Started by the cluster, not by people.
#[derive(Parser)]
enum Arguments {
    /// Makes the namespaces of the node that is described in this folder, and stays as long as it does.
    Start {
        /// The node's folder.
        folder: PathBuf,
    },
    /// The node's first process.
    Init {
        /// The node's folder.
        folder: PathBuf,
    },
    /// The first process of a pod: holds its namespaces, and does nothing.
    Pause,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse() {
        Arguments::Start { folder } => {
            let ended = inside::start(&folder)?;
            Ok(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Arguments::Init { folder } => match inside::init(&folder)? {},
        Arguments::Pause => {
            // The kubelet ends it with SIGTERM, which a first process would ignore.
            signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?.forever().next();
            Ok(ExitCode::SUCCESS)
        }
    }
}
