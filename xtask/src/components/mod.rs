//! `cargo xtask components`: Kubernetes' own programs, built from Go modules, for the tests and for real clusters.

mod build;
mod go;
mod module;

use crate::setup::packages;
use anyhow::Result;
use module::MODULES;

/// Builds what is not there as its `go.mod` and `go.sum` say. The first time takes about fifteen minutes on two cores.
pub fn ensure() -> Result<()> {
    let stale: Vec<_> = MODULES.iter().filter(|module| !build::is_current(module)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    let go = go::ensure()?;
    for (number, module) in stale.iter().enumerate() {
        println!("components: {} of {}: {module}", number + 1, stale.len());
        build::run(module, &go)?;
    }
    println!("components: all in {}", build::folder().display());
    Ok(())
}

/// What the machine needs to build and to run them.
pub fn packages() -> Result<()> {
    let missing = packages::missing(&packages::CLUSTER);
    if missing.is_empty() { Ok(()) } else { packages::install(&packages::CLUSTER, &missing) }
}

/// Everything that a cluster on this machine needs: packages and programs.
pub fn prepare() -> Result<()> {
    packages()?;
    ensure()
}
