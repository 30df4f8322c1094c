//! A client in a pod: obeys a test line by line.

use anyhow::Result;
use clap::Parser;
use mesh_tests::client::obey;
use mesh_tests::limits::raise_open_files;

/// A client that end-to-end tests direct.
#[derive(Parser)]
enum Arguments {
    /// Reads requests as JSON lines from stdin and answers each on stdout.
    Obey,
}

fn main() -> Result<()> {
    raise_open_files()?;
    match Arguments::parse() {
        Arguments::Obey => obey(),
    }
}
