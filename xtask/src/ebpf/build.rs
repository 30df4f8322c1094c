//! How cargo is called for the kernel's target.

use crate::toolchain::Toolchain;
use crate::{process, remap, workspace};
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
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
    flags.extend(remap::flags(&toolchain.rustc)?);
    Ok(flags)
}
