//! A client in a pod: obeys a test line by line, or takes part in a storm.

use anyhow::Result;
use clap::Parser;
use mesh_tests::client::obey;
use mesh_tests::limits::raise_open_files;
use mesh_tests::storm;

/// A client that end-to-end tests direct.
#[derive(Parser)]
enum Arguments {
    /// Reads requests as JSON lines from stdin and answers each on stdout.
    Obey,
    /// Connects as fast as it can, counting on a board in shared memory.
    Storm(storm::Arguments),
}

fn main() -> Result<()> {
    raise_open_files()?;
    match Arguments::parse() {
        Arguments::Obey => obey(),
        Arguments::Storm(arguments) => storm::weather(&arguments),
    }
}
