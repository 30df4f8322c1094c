//! The eBPF toolchain: which versions it must have, and whether it is on this machine.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler whose bytes the committed object holds. Another release compiles the programs to other bytes.
pub const RUSTC: &str = "1.95.0";

/// The linker whose bytes the committed object holds: the last that uses rustc's own LLVM; 0.11 needs a separate one.
pub const BPF_LINKER: &str = "0.10.2";

/// What rustc says of itself.
#[derive(Debug, Clone)]
pub struct Rustc {
    /// For example `1.95.0`.
    pub release: String,
    /// Where its libraries, and their sources, are.
    pub sysroot: PathBuf,
}

impl Rustc {
    /// Asks the rustc that cargo would use.
    pub fn find() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = process::output(Command::new(&rustc).arg("-vV"))?;
        let release = version.lines().find_map(|line| line.strip_prefix("release: "));
        Ok(Self {
            release: release.with_context(|| format!("no release in {version:?}"))?.to_owned(),
            sysroot: process::output(Command::new(&rustc).args(["--print", "sysroot"]))?.into(),
        })
    }

    /// The folder that holds `library/`, the sources of `core` in it.
    pub fn sources(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Whether the sources of `core` are there.
    pub fn has_sources(&self) -> bool {
        self.sources().join("library/core/src/lib.rs").exists() && self.sources().join("library/Cargo.lock").exists()
    }

    /// Whether this is the compiler of the committed object.
    pub fn is_pinned(&self) -> bool {
        self.release == RUSTC
    }
}

/// The folder of the project's own tools, for a linker beside another version in cargo's home.
pub fn own_tools() -> PathBuf {
    workspace::target().join("tools")
}

/// The bpf-linker of the pinned version: on `PATH`, in cargo's home, or among the project's own tools.
pub fn linker() -> Option<PathBuf> {
    linkers().find(|path| version_of(path).as_deref() == Some(BPF_LINKER))
}

/// Every bpf-linker that is to be found, of whatever version.
pub fn linkers() -> impl Iterator<Item = PathBuf> {
    let folders = [workspace::cargo_home().join("bin"), own_tools().join("bin")];
    process::find("bpf-linker")
        .into_iter()
        .chain(folders.into_iter().filter_map(|folder| process::find_in("bpf-linker", &[folder])))
}

fn version_of(linker: &Path) -> Option<String> {
    let text = process::output(Command::new(linker).arg("--version")).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// A toolchain that can build the programs.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// The compiler, with its sources.
    pub rustc: Rustc,
    /// The linker, of the pinned version.
    pub linker: PathBuf,
}

/// Finds the toolchain, or says what is missing of it.
pub fn find() -> Result<Result<Toolchain, String>> {
    let rustc = Rustc::find()?;
    if !rustc.has_sources() {
        return Ok(Err(format!("rust-src {} is missing", rustc.release)));
    }
    Ok(match linker() {
        Some(linker) => Ok(Toolchain { rustc, linker }),
        None => Err(format!("bpf-linker {BPF_LINKER} is missing")),
    })
}
