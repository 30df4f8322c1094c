//! `mesh-cluster down`: nothing of any cluster stays, whatever became of the process that made it.

use crate::PREFIX;
use anyhow::{Context, Result, ensure};
use mesh_tests::world::{Home, sweep};

/// Removes clusters that are up or crashed, or the one of this name, and what crashed tests left.
pub fn run(name: Option<&str>) -> Result<()> {
    let mut homes = Home::abandoned(PREFIX)?;
    if let Some(name) = name {
        homes.retain(|home| home.name() == name);
        ensure!(!homes.is_empty(), "no cluster {name} is up");
    }
    for home in homes {
        home.demolish().with_context(|| format!("remove {}", home.name()))?;
        println!("{} is gone: its processes, namespaces, mounts, cgroups and files", home.name());
    }
    sweep()?;
    println!("nothing is left");
    Ok(())
}
