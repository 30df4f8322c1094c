//! Paths of this machine, and what stands for them in what is built: the same bytes from every folder.

use crate::toolchain::Rustc;
use crate::workspace;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// The compiler's flags. Later prefixes win, so what may lie inside another comes after it. The workspace is `.`: the
/// linker of the programs finds their lines there and puts them into the BTF, where the verifier quotes them.
pub fn flags(rustc: &Rustc) -> Result<Vec<String>> {
    let cargo = workspace::cargo_home();
    let mut prefixes = vec![(workspace::root(), "."), (cargo.clone(), "/cargo")];
    prefixes.extend(registries(&cargo)?.into_iter().map(|folder| (folder, "/cargo/registry")));
    prefixes.push((rustc.sources(), "/rustc"));
    Ok(prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

/// The folders of unpacked crates: their names hold a hash of the registry's address, which a mirror changes. They are
/// there before any build: this program's own libraries come from them.
fn registries(cargo_home: &Path) -> Result<Vec<PathBuf>> {
    let sources = cargo_home.join("registry/src");
    if !sources.exists() {
        return Ok(Vec::new());
    }
    let mut folders: Vec<_> = fs::read_dir(sources)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    folders.sort();
    Ok(folders)
}

/// A path of this machine that was left in what was built.
pub fn private_path(built: &[u8], rustc: &Rustc) -> Option<String> {
    let private = [workspace::root(), workspace::cargo_home(), workspace::target(), rustc.sysroot.clone()];
    private.iter().map(|path| path.display().to_string()).find(|path| holds_path(built, path))
}

/// Whether a path, or one below it, stands in what was built: `/src` does not stand in `mesh-ebpf/src/main.rs`.
fn holds_path(built: &[u8], path: &str) -> bool {
    let below = format!("{}/", path.trim_end_matches('/'));
    let starts_there = |at: usize| at == 0 || !built[at - 1].is_ascii_graphic();
    below.len() > 1
        && built.windows(below.len()).enumerate().any(|(at, window)| window == below.as_bytes() && starts_there(at))
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
