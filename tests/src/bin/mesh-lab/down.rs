//! `mesh-lab down`: nothing of any lab or test stays, whatever became of the process that made it.

use crate::lab::PREFIX;
use anyhow::{Context, Result};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Home, sweep};
use nix::sys::signal::{Signal, kill};
use std::fs;

/// Which labs.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only this one, by the name in its paths.
    #[arg(long)]
    lab: Option<String>,
}

impl Arguments {
    /// Ends labs that run, removes those that were kept or crashed, and what crashed tests left.
    pub fn run(self) -> Result<()> {
        let wanted = self.lab.unwrap_or_else(|| PREFIX.to_owned());
        for home in Home::all(&wanted) {
            end_living(&home)?;
        }
        for home in Home::abandoned(&wanted)? {
            home.demolish().with_context(|| format!("remove {}", home.name()))?;
            println!("{} is gone: its processes, namespaces, cgroups, pins and files", home.name());
        }
        sweep()?;
        println!("nothing is left");
        Ok(())
    }
}

/// Asks the process that runs a lab to end it, and waits until it has.
fn end_living(home: &Home) -> Result<()> {
    let alive = || {
        let maker = home.maker()?;
        let command = fs::read_to_string(format!("/proc/{maker}/comm")).ok()?;
        // The number may be another process's by now, when the lab was killed.
        (command.trim() == "mesh-lab" && home.path("lock").exists()).then_some(maker)
    };
    let Some(maker) = alive() else { return Ok(()) };
    println!("{} runs as process {maker}: it is asked to end", home.name());
    // One that has ended in between needs no signal.
    kill(maker, Signal::SIGTERM).ok();
    wait_for(&format!("process {maker} to end"), || if alive().is_none() { Ok(()) } else { Err("it runs") })
}
