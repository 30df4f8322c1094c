//! `mesh unload`.

use super::arguments::DatapathArguments;
use super::exit::Exit;
use crate::agent;

/// Take the data path away: detach the programs and remove their maps.
///
/// Open connections stay as they are; new ones are no longer balanced. End the agent first: a running one is refused.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    datapath: DatapathArguments,
}

const EXAMPLES: &str = "\
Examples:
  Take away what `mesh agent` with its defaults left:
    mesh unload
  Take away that of one cgroup:
    mesh unload --cgroup /sys/fs/cgroup/shop --pins /sys/fs/bpf/shop";

impl Arguments {
    /// Takes it away.
    pub fn run(self) -> anyhow::Result<Exit> {
        agent::unload(&self.datapath.config()).map(|()| Exit::Ok)
    }
}
