//! `cargo xtask build-ebpf`: from the sources of the programs to the object that `mesh` carries.

mod build;
mod object;
mod programs;

pub use build::cargo;

use crate::toolchain::Toolchain;
use crate::workspace;
use crate::{remap, setup};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The committed object, inside the workspace. `mesh` embeds it.
pub const COMMITTED: &str = "mesh-userspace/programs/mesh.bpf.o";

/// What to do with the object that was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Put it in the committed one's place.
    Update,
    /// Fail when the committed one is not byte for byte the same.
    Compare,
}

/// Builds the programs and prints them. `Ok(true)`: the committed object was something else before.
pub fn run(toolchain: &Toolchain, release: bool, then: Then) -> Result<bool> {
    let linked = build::build(toolchain, release)?;
    let object = object::strip(&fs::read(&linked).with_context(|| format!("read {}", linked.display()))?)
        .with_context(|| format!("strip {}", linked.display()))?;
    if let Some(private) = remap::private_path(&object, &toolchain.rustc) {
        bail!("the object holds a path of this machine, {private}: remap it in xtask/src/remap.rs");
    }
    print!("{}", programs::table(&object)?);

    let committed = workspace::root().join(COMMITTED);
    let differs = fs::read(&committed).map_or(true, |bytes| bytes != object);
    if !differs {
        println!("build-ebpf: {COMMITTED} is what the source gives");
        return Ok(false);
    }
    if !toolchain.rustc.is_pinned() {
        println!("build-ebpf: {}", setup::another_compiler(&toolchain.rustc));
    }
    if then == Then::Compare {
        let found = workspace::target().join("ebpf/mesh.bpf.o");
        fs::write(&found, &object)?;
        bail!(
            "{COMMITTED} is not what the source gives ({} is). Run `cargo xtask build-ebpf` and commit the result",
            found.display()
        );
    }
    write(&committed, &object)?;
    println!("build-ebpf: {COMMITTED} is now what the source gives: commit it");
    Ok(true)
}

/// Brings the object that `mesh` embeds up to date with the sources, where this compiler gives the committed bytes.
pub fn prepare(toolchain: &Toolchain) -> Result<()> {
    if toolchain.rustc.is_pinned() {
        return run(toolchain, false, Then::Update).map(drop);
    }
    println!("build-ebpf: {}; the committed object is used", setup::another_compiler(&toolchain.rustc));
    Ok(())
}

/// Replaces a file as a whole: a build that reads it meanwhile sees the old or the new.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside: PathBuf = path.with_extension("new");
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(&beside, bytes).with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("write {}", path.display()))
}
