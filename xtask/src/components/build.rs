//! One Go module, built unless what it makes is there already.

use super::module::Module;
use crate::{process, workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Where all of them go.
pub fn folder() -> PathBuf {
    workspace::target().join("components")
}

/// Whether all that it makes is there, from exactly what its files say now.
pub fn is_current(module: &Module) -> bool {
    let place = folder().join(module.place);
    let there = module.products().all(|product| place.join(product).is_file());
    there && fs::read_to_string(stamp_file(module)).ok() == stamp(module).ok()
}

/// Makes it beside its place, then moves each product there: nobody sees half a program.
pub fn run(module: &Module, go: &Path) -> Result<()> {
    let started = Instant::now();
    let (place, beside) = (folder().join(module.place), folder().join(format!("building-{}", module.name)));
    for made in [&place, &beside] {
        fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
    }
    match module.published {
        Some((from, path)) => copy(module, go, from, path, &beside)?,
        None => compile(module, go, &beside)?,
    }
    for product in module.products() {
        fs::rename(beside.join(product), place.join(product)).with_context(|| format!("put {product} in its place"))?;
    }
    fs::remove_dir_all(&beside).with_context(|| format!("remove {}", beside.display()))?;
    fs::write(stamp_file(module), stamp(module)?).context("write the stamp")?;
    println!("components: {} took {} s", module.name, started.elapsed().as_secs());
    Ok(())
}

/// Builds the programs into `folder`.
fn compile(module: &Module, go: &Path, folder: &Path) -> Result<()> {
    let mut command = command(module, go);
    command.args(module.arguments()).arg("-o").arg(folder).arg("tool");
    process::run(command.env("CGO_ENABLED", if module.c { "1" } else { "0" }))?;
    if let Some((from, to)) = module.renamed {
        fs::rename(folder.join(from), folder.join(to)).with_context(|| format!("name {to}"))?;
    }
    Ok(())
}

/// Copies a file of the module `from` into `folder`. Go compares what it gets with go.sum.
fn copy(module: &Module, go: &Path, from: &str, path: &str, folder: &Path) -> Result<()> {
    process::run(command(module, go).args(["mod", "download", from]))?;
    let unpacked = process::output(command(module, go).args(["list", "-m", "-f", "{{.Dir}}", from]))?;
    let file = Path::new(&unpacked).join(path);
    // Read, not copied: the module's own files may not be written.
    let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let to = folder.join(file.file_name().context("a file has a name")?);
    fs::write(&to, text).with_context(|| format!("write {}", to.display()))
}

/// Go, in the module's folder. One that is older than a go.mod asks for gets that one as a module.
fn command(module: &Module, go: &Path) -> Command {
    let mut command = Command::new(go);
    command.current_dir(sources(module)).env("GOTOOLCHAIN", "auto");
    command
}

fn sources(module: &Module) -> PathBuf {
    workspace::root().join("tests/components").join(module.name)
}

fn stamp_file(module: &Module) -> PathBuf {
    folder().join(format!("{}.stamp", module.name))
}

/// All that decides what comes out.
fn stamp(module: &Module) -> Result<String> {
    let read = |name: &str| {
        let path = sources(module).join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    Ok(format!("{}\n{}\n{}", module.arguments().join(" "), read("go.mod")?, read("go.sum")?))
}
