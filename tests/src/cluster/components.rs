//! Where the programs of Kubernetes are.

use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};

/// Names another folder with the programs.
const VARIABLE: &str = "MESH_COMPONENTS";

/// The folder that `cargo xtask components` builds into.
#[derive(Clone, Debug)]
pub struct Components {
    folder: PathBuf,
}

impl Components {
    /// `target/components` of the running program's workspace, or what `MESH_COMPONENTS` names.
    pub fn find() -> Result<Self> {
        if let Some(folder) = env::var_os(VARIABLE) {
            return Self::at(PathBuf::from(folder)).with_context(|| format!("{VARIABLE} is set"));
        }
        let own = env::current_exe().context("find the running program")?;
        // Tests run from target/<profile>/deps, commands from target/<profile>.
        let folder = own.ancestors().skip(1).map(|target| target.join("components")).find(|folder| folder.is_dir());
        Self::at(folder.context("the programs of Kubernetes are not built: cargo xtask components")?)
    }

    fn at(folder: PathBuf) -> Result<Self> {
        let components = Self { folder };
        ensure!(
            components.folder.join("bin/kube-apiserver").is_file(),
            "no bin/kube-apiserver in {}: cargo xtask components builds it",
            components.folder.display()
        );
        Ok(components)
    }

    /// The folder of the programs.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The folder of the network plugins.
    pub fn cni(&self) -> PathBuf {
        self.folder.join("cni/bin")
    }

    /// One of the programs: `kube-apiserver`.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.bin().join(name);
        ensure!(path.is_file(), "no {}: cargo xtask components builds it", path.display());
        Ok(path)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
