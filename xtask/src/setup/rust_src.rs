//! The sources of `core`, of exactly rustc's version: there is no compiled `core` for the kernel's target.

use super::{Item, Mode};
use crate::toolchain::Rustc;
use crate::{process, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

/// Names an archive with the sources, for machines that cannot reach rustup's server.
pub const ARCHIVE: &str = "MESH_RUST_SRC_ARCHIVE";

/// Gets the sources for a compiler, or says why not.
type Source = fn(&Rustc) -> Result<()>;

/// Who may have the sources, in the order of asking.
const SOURCES: [(&str, Source); 3] = [("rustup", from_rustup), ("archive", from_archive), ("Debian", from_debian)];

/// A machine without a network must not wait longer for rustup.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// The sources, as they are on this machine.
pub fn item(rustc: &Rustc) -> Item {
    let place = rustc.sources().join("library").display().to_string();
    Item {
        name: format!("rust-src {}", rustc.release),
        state: if rustc.has_sources() { Ok(place) } else { Err(format!("nothing at {place}")) },
    }
}

/// Gets the sources unless they are there: from rustup, from the archive, from Debian, whichever is first to have them.
pub fn ensure(rustc: &Rustc, mode: Mode) -> Result<()> {
    if rustc.has_sources() {
        return Ok(());
    }
    let tried = tried_in_vain();
    if mode == Mode::Needed
        && !workspace::is_ci()
        && fs::read_to_string(&tried).is_ok_and(|told| told == attempt(rustc))
    {
        bail!("rust-src {} could not be had; `cargo xtask setup` tries again", rustc.release);
    }
    println!("setup: rust-src {} is missing", rustc.release);
    for (name, get) in SOURCES {
        match get(rustc) {
            Ok(()) if rustc.has_sources() => {
                println!("setup: rust-src {} is installed ({name})", rustc.release);
                return Ok(());
            }
            Ok(()) => println!("setup: {name}: incomplete, library/core or library/Cargo.lock is not in it"),
            Err(reason) => println!("setup: {name}: {reason:#}"),
        }
    }
    fs::create_dir_all(workspace::target())?;
    fs::write(&tried, attempt(rustc))?;
    bail!("rust-src {} cannot be had; set {ARCHIVE} to an archive of it", rustc.release)
}

/// Remembers that the sources could not be had, so that each run on such a machine does not try again.
fn tried_in_vain() -> PathBuf {
    workspace::target().join("rust-src-tried-in-vain")
}

/// What was tried: another compiler or another archive is worth another try.
fn attempt(rustc: &Rustc) -> String {
    format!("{} {}", rustc.release, env::var(ARCHIVE).unwrap_or_default())
}

fn from_rustup(rustc: &Rustc) -> Result<()> {
    let rustup = process::find("rustup").context("rustup is not on PATH")?;
    let its_rustc = process::output(Command::new(&rustup).args(["which", "rustc"]))?;
    ensure!(Path::new(&its_rustc).starts_with(&rustc.sysroot), "{} is not its compiler", rustc.sysroot.display());
    process::run_within(RUSTUP_LIMIT, Command::new(rustup).args(["component", "add", "rust-src"]))
}

fn from_archive(rustc: &Rustc) -> Result<()> {
    let archive = PathBuf::from(env::var_os(ARCHIVE).with_context(|| format!("{ARCHIVE} is not set"))?);
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(archive.exists(), "{ARCHIVE}={}: there is no such file", archive.display());
    ensure!(
        name.contains(&rustc.release),
        "{ARCHIVE}={}: its name must say that it is of rustc's version, {}",
        archive.display(),
        rustc.release
    );
    unpack(rustc, |folder| process::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(folder)))
}

fn from_debian(rustc: &Rustc) -> Result<()> {
    let apt_get = process::find("apt-get").context("there is no apt-get here")?;
    let table = process::output(Command::new("apt-cache").args(["madison", "rust-src"]))?;
    let version = table
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|version| version.strip_prefix(&rustc.release).is_some_and(|rest| rest.starts_with(['+', '-', '~'])))
        .with_context(|| format!("no package rust-src of version {}", rustc.release))?;
    // Downloaded and unpacked, not installed: the package's place is another compiler's sysroot.
    unpack(rustc, |folder| {
        let mut download = Command::new(&apt_get);
        process::run(download.args(["-qq", "download", &format!("rust-src={version}")]).current_dir(folder))?;
        let package = fs::read_dir(folder)?.next().context("apt-get downloaded nothing")??.path();
        process::run(Command::new("dpkg").arg("-x").arg(package).arg(folder))
    })
}

/// Lets `fill` unpack into a folder beside the sources' place, and moves the `library/` in it there as a whole.
fn unpack(rustc: &Rustc, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let place = rustc.sources();
    let staging = place.with_file_name(format!("rust-src.{}", std::process::id()));
    fs::create_dir_all(&staging).with_context(|| format!("make {}", staging.display()))?;
    let moved = fill(&staging).and_then(|()| {
        let library = find_library(&staging, rustc).context("there is no library/core/src/lib.rs in it")?;
        fs::create_dir_all(&place)?;
        fs::rename(&library, place.join("library")).with_context(|| format!("move to {}", place.display()))
    });
    fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    moved
}

/// The `library/` of a bare archive, of rust's own archive, or of Debian's package.
fn find_library(folder: &Path, rustc: &Rustc) -> Option<PathBuf> {
    let release = &rustc.release;
    [
        "library".to_owned(),
        format!("rust-src-{release}/rust-src/lib/rustlib/src/rust/library"),
        format!("usr/src/rustc-{release}/library"),
    ]
    .into_iter()
    .map(|inner| folder.join(inner))
    .find(|library| library.join("core/src/lib.rs").exists())
}
