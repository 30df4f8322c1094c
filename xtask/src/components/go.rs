//! A Go that can build the components, or that can get the one that can.

use crate::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// From this release of Go 1 on, the release that a go.mod asks for comes as a module.
const GETS_ITS_SUCCESSOR: u32 = 21;

/// Finds one, or installs the newest that the system's packages have.
pub fn ensure() -> Result<PathBuf> {
    if let Some(go) = find() {
        return Ok(go);
    }
    let package = package()?;
    if !process::is_root() {
        bail!("no Go 1.{GETS_ITS_SUCCESSOR} or later here; as root: apt-get update && apt-get install {package}");
    }
    println!("components: Go is missing: installing {package} with apt-get");
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "install", "--yes", "--no-install-recommends"]);
    process::run(apt.arg(&package))?;
    find().with_context(|| format!("apt-get has installed {package}, but no Go is to be found"))
}

/// On `PATH`, where Go's own archive is unpacked, or where Debian puts its versions.
fn find() -> Option<PathBuf> {
    let debian = (GETS_ITS_SUCCESSOR..100).rev().map(|minor| PathBuf::from(format!("/usr/lib/go-1.{minor}/bin/go")));
    let usual = process::find("go").into_iter().chain([PathBuf::from("/usr/local/go/bin/go")]);
    usual.chain(debian).find(|go| go.is_file() && minor_of(go).is_some_and(|minor| minor >= GETS_ITS_SUCCESSOR))
}

/// `go version go1.26.8 linux/amd64`: 26.
fn minor_of(go: &Path) -> Option<u32> {
    let text = process::output(Command::new(go).arg("version").env("GOTOOLCHAIN", "local")).ok()?;
    minor(text.split_whitespace().nth(2)?)
}

fn minor(version: &str) -> Option<u32> {
    let digits: String = version.strip_prefix("go1.")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The newest package of a Go that is new enough.
fn package() -> Result<String> {
    process::run(Command::new("apt-get").args(["-qq", "update"])).context("look for a package of Go")?;
    let listed = process::output(Command::new("apt-cache").args(["search", "--names-only", "^golang-1[.][0-9]+-go$"]))?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let numbered = names.filter_map(|name| name.strip_prefix("golang-1.")?.strip_suffix("-go")?.parse::<u32>().ok());
    match numbered.max() {
        Some(minor) if minor >= GETS_ITS_SUCCESSOR => Ok(format!("golang-1.{minor}-go")),
        _ => {
            bail!("the system's packages have no Go 1.{GETS_ITS_SUCCESSOR} or later: install one (go.dev/doc/install)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_go_is_read() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.19"), Some(19));
        assert_eq!(minor("devel"), None);
    }
}
