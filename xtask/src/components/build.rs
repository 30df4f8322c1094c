//! One Go module, built unless it is there already.

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

/// Whether its programs are there, built from exactly what its files say now.
pub fn is_current(module: &Module) -> bool {
    let place = folder().join(module.place);
    let there = module.programs.iter().all(|program| place.join(program).is_file());
    there && fs::read_to_string(stamp_file(module)).ok() == stamp(module).ok()
}

/// Builds it beside its place, then moves each program there: nobody sees half a program.
pub fn run(module: &Module, go: &Path) -> Result<()> {
    let started = Instant::now();
    let (place, beside) = (folder().join(module.place), folder().join(format!("building-{}", module.name)));
    for made in [&place, &beside] {
        fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
    }
    let mut command = Command::new(go);
    command.current_dir(sources(module)).args(module.arguments()).arg("-o").arg(&beside).arg("tool");
    // A Go that is older than a go.mod asks for gets that one as a module.
    command.env("GOTOOLCHAIN", "auto").env("CGO_ENABLED", if module.c { "1" } else { "0" });
    process::run(&mut command)?;
    if let Some((from, to)) = module.renamed {
        fs::rename(beside.join(from), beside.join(to)).with_context(|| format!("name {to}"))?;
    }
    for program in module.programs {
        fs::rename(beside.join(program), place.join(program)).with_context(|| format!("put {program} in its place"))?;
    }
    fs::remove_dir_all(&beside).with_context(|| format!("remove {}", beside.display()))?;
    fs::write(stamp_file(module), stamp(module)?).context("write the stamp")?;
    println!("components: {} took {} s", module.name, started.elapsed().as_secs());
    Ok(())
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
