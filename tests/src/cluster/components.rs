//! Where the Kubernetes programs are.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;

/// The folder of the programs below cargo's target folder.
const BUILT: &str = "components/bin";

/// Names the folder of another build of them.
const VARIABLE: &str = "MESH_COMPONENTS";

/// `etcd`, `kube-apiserver`, `kube-proxy` and so on.
pub fn find(name: &str) -> Result<PathBuf> {
    if let Some(folder) = env::var_os(VARIABLE) {
        let path = PathBuf::from(folder).join(name);
        return if path.is_file() { Ok(path) } else { bail!("{VARIABLE}: {} is no file", path.display()) };
    }
    let own = env::current_exe().context("find the running program")?;
    let found = own.ancestors().map(|folder| folder.join(BUILT).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} in target/{BUILT}: build it with `cargo xtask setup`, or set {VARIABLE}"))
}
