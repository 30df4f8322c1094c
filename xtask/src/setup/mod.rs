//! `cargo xtask setup`: finds what is missing and installs it.

mod components;
mod linker;
pub mod packages;
mod rust_src;

use crate::toolchain::{self, Rustc, Toolchain};
use crate::workspace;
use anyhow::{Result, bail};

/// How much is to be done about what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Report only.
    Check,
    /// Somebody asked: report and install, also what could not be had before.
    Install,
    /// On the way to something else: install, but say nothing of what is there and do not try in vain twice.
    Needed,
}

/// One thing that a developer's machine needs.
struct Item {
    name: String,
    /// `Ok`: where it is. `Err`: what is missing.
    state: Result<String, String>,
}

impl Item {
    fn say(&self) {
        match &self.state {
            Ok(place) => println!("setup: {:<20} {place}", self.name),
            Err(missing) => println!("setup: {:<20} MISSING: {missing}", self.name),
        }
    }
}

/// Finds what is missing and, if `mode` says so, installs it. `None`: the programs cannot be built on this machine, and
/// the committed object serves.
pub fn run(mode: Mode) -> Result<Option<Toolchain>> {
    let rustc = Rustc::find()?;
    if mode == Mode::Check {
        return check(&rustc).map(|()| toolchain::find().ok().and_then(Result::ok));
    }
    let say = |item: Item| {
        if mode == Mode::Install {
            item.say();
        }
    };

    let missing = packages::missing(&packages::PACKAGES);
    if !missing.is_empty() {
        packages::install(&packages::PACKAGES, &missing)?;
    }
    say(packages::item("system packages", &packages::PACKAGES));
    if mode == Mode::Install {
        crate::components::packages()?;
        say(packages::item("for Kubernetes", &packages::CLUSTER));
    }
    if mode == Mode::Install {
        components::ensure();
    }
    say(components::item());

    let toolchain = match linker::ensure().and_then(|()| rust_src::ensure(&rustc, mode)) {
        Ok(()) => toolchain::find()?,
        Err(reason) => Err(format!("{reason:#}")),
    };
    say(linker::item());
    say(rust_src::item(&rustc));
    match toolchain {
        Ok(toolchain) => Ok(Some(toolchain)),
        Err(reason) if workspace::is_ci() => bail!("CI builds the programs from source, and cannot: {reason}"),
        Err(reason) => {
            println!("setup: the eBPF toolchain is not available ({reason}): the committed object is used");
            Ok(None)
        }
    }
}

/// Reports, and fails when anything is missing.
fn check(rustc: &Rustc) -> Result<()> {
    let items = [
        packages::item("system packages", &packages::PACKAGES),
        packages::item("for Kubernetes", &packages::CLUSTER),
        components::item(),
        linker::item(),
        rust_src::item(rustc),
    ];
    for item in &items {
        item.say();
    }
    if !rustc.is_pinned() {
        println!("setup: {}", another_compiler(rustc));
    }
    let missing = items.iter().filter(|item| item.state.is_err()).count();
    if missing > 0 {
        bail!("{missing} of {} are missing; `cargo xtask setup`, as root, installs them", items.len());
    }
    Ok(())
}

/// What to say and do when rustc is not the one of the committed object.
pub fn another_compiler(rustc: &Rustc) -> String {
    format!(
        "rustc is {}, the committed object is built by {pinned}: other bytes. To build it: \
         `rustup toolchain install {pinned} && rustup override set {pinned}`",
        rustc.release,
        pinned = toolchain::RUSTC
    )
}
