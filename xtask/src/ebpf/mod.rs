//! `cargo xtask build-ebpf`: from the sources of the programs to the object that `mesh` carries.

mod build;
mod object;
mod programs;

pub use build::cargo;

use crate::setup;
use crate::toolchain::Toolchain;
use crate::workspace;
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
    if let Some(private) = private_path(&object, toolchain) {
        bail!("the object holds a path of this machine, {private}: remap it in xtask/src/ebpf/build.rs");
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

/// A path of this machine that was left in the object.
fn private_path(object: &[u8], toolchain: &Toolchain) -> Option<String> {
    let private = [workspace::root(), workspace::cargo_home(), workspace::target(), toolchain.rustc.sysroot.clone()];
    private.iter().map(|path| path.display().to_string()).find(|path| holds_path(object, path))
}

/// Whether a path, or one below it, stands in the object: `/src` does not stand in `mesh-ebpf/src/main.rs`.
fn holds_path(object: &[u8], path: &str) -> bool {
    let below = format!("{}/", path.trim_end_matches('/'));
    let starts_there = |at: usize| at == 0 || !object[at - 1].is_ascii_graphic();
    below.len() > 1
        && object.windows(below.len()).enumerate().any(|(at, window)| window == below.as_bytes() && starts_there(at))
}

/// Replaces a file as a whole: a build that reads it meanwhile sees the old or the new.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside: PathBuf = path.with_extension("new");
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(&beside, bytes).with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::holds_path;

    #[test]
    fn only_whole_paths_are_private() {
        let object = b"\0./mesh-ebpf/src/main.rs\0/rustc/library/core/src/lib.rs\0/home/me/mesh/x.rs\0";
        assert!(holds_path(object, "/home/me"));
        assert!(holds_path(object, "/home/me/mesh/"));
        assert!(!holds_path(object, "/src"));
        assert!(!holds_path(object, "/home/m"));
        assert!(!holds_path(object, "/"));
    }
}
