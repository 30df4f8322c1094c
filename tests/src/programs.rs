//! Where the programs are that a world runs.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};

/// A program of this workspace: `mesh`, `mesh-echo`, `mesh-client`. An environment variable names another build of it
/// (`MESH_BIN` for `mesh`); else it is looked for where cargo put the running program.
pub fn find(name: &str) -> Result<PathBuf> {
    let variable = match name {
        "mesh" => "MESH_BIN".to_owned(),
        other => other.to_uppercase().replace('-', "_") + "_BIN",
    };
    if let Some(path) = env::var_os(&variable) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { bail!("{variable}={} is no file", path.display()) };
    }
    let own = env::current_exe().context("find the running program")?;
    // Tests run from target/<profile>/deps, the lab from target/<profile>.
    let folders = own.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).with_context(|| {
        let folder = own.parent().unwrap_or(Path::new("."));
        let package = if name == "mesh" { "mesh-userspace" } else { "mesh-tests" };
        format!(
            "no {name} near {}: build it (cargo build -p {package} --bin {name}) or set {variable}",
            folder.display()
        )
    })
}
