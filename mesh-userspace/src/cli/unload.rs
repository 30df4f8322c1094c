//! `mesh unload`.

use super::exit::Exit;
use super::output::print;
use super::words;
use crate::config::DEFAULT_PINS;
use crate::datapath::{self, Pins};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Take the data path away: detach the programs and remove their maps.
///
/// Open connections stay as they are; new ones are no longer balanced. End the agent first: a running one is refused.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The directory of the pins.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pins: PathBuf,

    /// The cgroup that the programs are attached to. Each pin knows its own, so this changes nothing; it is taken so
    /// that the arguments of `mesh agent` do.
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,

    /// Wait for SIGTERM or SIGINT afterwards: in the place of the agent's pod, which runs for as long as it is there.
    #[arg(long)]
    stay: bool,
}

const EXAMPLES: &str = "\
Examples:
  Take away what `mesh agent` with its defaults left:
    mesh unload
  Take away that of another agent:
    mesh unload --pins /sys/fs/bpf/shop";

impl Arguments {
    /// Takes it away.
    pub fn run(self) -> anyhow::Result<Exit> {
        let pins = Pins::new(&self.pins);
        match datapath::unload(&pins)? {
            0 => print(&format!("There is no data path in {}.\n", self.pins.display()))?,
            layouts => print(&format!(
                "Took {} away from {}: new connections are no longer balanced, open ones stay as they are.\n",
                words::count(layouts as u64, "data path"),
                self.pins.display()
            ))?,
        }
        if self.stay {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(stay())?;
        }
        Ok(Exit::Ok)
    }
}

/// Until told to end.
async fn stay() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
