//! `mesh-cluster down`: nothing of any cluster stays, whatever became of the process that made it.

use crate::PREFIX;
use anyhow::{Context, Result};
use mesh_tests::world::{Home, sweep};

/// Removes clusters that are up or crashed, and what crashed tests left.
pub fn run() -> Result<()> {
    for home in Home::abandoned(PREFIX)? {
        home.demolish().with_context(|| format!("remove {}", home.name()))?;
        println!("{} is gone: its processes, namespaces, mounts, cgroups and files", home.name());
    }
    sweep()?;
    println!("nothing is left");
    Ok(())
}
