//! The folders of this workspace.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of the root `Cargo.toml`.
pub fn root() -> PathBuf {
    // Set by `cargo run`; the compile-time value serves a binary that is started by hand.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// The folder that cargo builds into, wherever the user's configuration puts it: this binary is in its `debug/`.
pub fn target() -> PathBuf {
    let binary = env::current_exe().unwrap_or_default();
    binary.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Cargo's home: its registry and its installed programs.
pub fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .unwrap_or_else(|| ".cargo".into())
}

/// Whether this run is a CI's: what may be left out elsewhere is an error there.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
