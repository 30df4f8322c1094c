//! A client in a pod: obeys a test line by line, or takes part in a storm.

use anyhow::{Context, Result};
use clap::Parser;
use mesh_tests::client::obey;
use mesh_tests::limits::raise_open_files;
use mesh_tests::storm;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

/// A client that end-to-end tests direct.
#[derive(Parser)]
enum Arguments {
    /// Reads requests as JSON lines from stdin and answers each on stdout.
    Obey,
    /// Connects as fast as it can, counting on a board in shared memory.
    Storm(storm::Arguments),
    /// Asks the pod's DNS for a name, and prints each address on a line.
    Resolve {
        /// The name, as `web.default.svc.cluster.local`.
        name: String,
    },
}

fn main() -> Result<()> {
    raise_open_files()?;
    match Arguments::parse() {
        Arguments::Obey => obey(),
        Arguments::Storm(arguments) => storm::weather(&arguments),
        Arguments::Resolve { name } => resolve(&name),
    }
}

fn resolve(name: &str) -> Result<()> {
    let found = (name, 0).to_socket_addrs().with_context(|| format!("resolve {name}"))?;
    for address in found.map(|address: SocketAddr| address.ip()).collect::<BTreeSet<_>>() {
        println!("{address}");
    }
    Ok(())
}
