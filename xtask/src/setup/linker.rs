//! bpf-linker, at its pinned version.

use super::Item;
use crate::process;
use crate::toolchain::{self, BPF_LINKER};
use anyhow::Result;

/// The linker, as it is on this machine.
pub fn item() -> Item {
    Item {
        name: format!("bpf-linker {BPF_LINKER}"),
        state: toolchain::linker().map(|path| path.display().to_string()).ok_or_else(|| {
            toolchain::linkers()
                .next()
                .map_or_else(|| "not installed".to_owned(), |other| format!("{} is another version", other.display()))
        }),
    }
}

/// Installs it unless it is there: into cargo's home, or, if another version is there, beside it.
pub fn ensure() -> Result<()> {
    if toolchain::linker().is_some() {
        return Ok(());
    }
    let mut install = process::cargo();
    install.args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"]);
    if toolchain::linkers().next().is_some() {
        install.arg("--root").arg(toolchain::own_tools());
    }
    println!("setup: bpf-linker {BPF_LINKER} is missing: compiling it, about a minute");
    process::run(&mut install)
}
