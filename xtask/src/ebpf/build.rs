//! How cargo is called for the kernel's target.

use crate::toolchain::Toolchain;
use crate::{process, workspace};
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "mesh-ebpf";
const BINARY: &str = "mesh";

/// Compiles and links the programs; the result still has its DWARF. `afresh`: from nothing, and with exactly the
/// versions of the lock file.
pub fn build(toolchain: &Toolchain, afresh: bool) -> Result<PathBuf> {
    let folder = workspace::target().join("ebpf").join(TARGET);
    let mut command = cargo(toolchain, "build")?;
    if afresh {
        command.arg("--locked");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    process::run(&mut command)?;
    let linked = folder.join("ebpf").join(BINARY);
    ensure!(linked.exists(), "cargo made no {}", linked.display());
    Ok(linked)
}

/// A cargo command over the programs, on their target: `build` or `clippy`.
pub fn cargo(toolchain: &Toolchain, verb: &str) -> Result<Command> {
    let folder = linker_alone(toolchain)?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path)))?;
    let mut command = process::cargo();
    command
        .args([verb, "--package", PACKAGE, "--profile", "ebpf", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(workspace::target().join("ebpf"))
        // The target has no compiled `core`; building it is unstable, in a compiler that is pinned. In cargo's
        // fingerprint: set here and nowhere else.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain)?.join("\x1f"))
        .env("PATH", path);
    Ok(command)
}

/// A folder with the linker and nothing else, for the front of `PATH`: cargo's own folder may hold another rustc.
fn linker_alone(toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = workspace::target().join("ebpf/bin");
    let link = folder.join("bpf-linker");
    if fs::read_link(&link).ok().as_ref() != Some(&toolchain.linker) {
        fs::create_dir_all(&folder)?;
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        symlink(&toolchain.linker, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(folder)
}

/// The compiler's flags; the profile `ebpf` in `Cargo.toml` has the rest.
fn rustflags(toolchain: &Toolchain) -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        // By name: a path would be one of this machine.
        "-Clinker=bpf-linker",
        "-Clink-arg=--btf",
        // v3 has 32-bit jumps and atomics of both sizes; kernels have it since 5.10.
        "-Ctarget-cpu=v3",
        "--cfg=bpf_target_arch=\"x86_64\"",
    ]
    .map(str::to_owned)
    .into();
    // Later prefixes win, so what may lie inside another comes after it. The workspace is `.`: the linker finds the
    // lines of the programs there and puts them into the BTF, where the verifier quotes them.
    let cargo = workspace::cargo_home();
    let mut prefixes = vec![(workspace::root(), "."), (cargo.clone(), "/cargo")];
    prefixes.extend(registries(&cargo)?.into_iter().map(|folder| (folder, "/cargo/registry")));
    prefixes.push((toolchain.rustc.sources(), "/rustc"));
    flags.extend(prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    Ok(flags)
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
