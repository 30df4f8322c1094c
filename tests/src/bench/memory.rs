//! The agent's start from manifests, and the memory that it then takes.

use crate::Effort;
use crate::fill::ENDPOINTS;
use crate::manifests;
use crate::report::{Limit, Section, Target};
use anyhow::{Context, Result};
use mesh_tests::world::World;
use std::fs;

/// Once, with the real program.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "The agent's start and memory",
        "`mesh agent` over a directory tree with a file for each Service and its endpoints; from its start until `mesh \
         status` says that all of it is in the maps. Memory is what /proc/PID/status says then: *shared* are its text and the maps \
         themselves, which it sees in place and which are the kernel's in any case.",
        &["Services", "endpoints", "start to ready, s", "resident, MB", "of it own", "of it shared", "at most, MB"],
    );
    let count = effort.pick(200, 10_000);
    let world = World::named("mesh-bench")?;
    manifests::write(&world, 0, count)?;
    let ready = manifests::start_agent(&world, count)?;
    let status = fs::read_to_string(format!("/proc/{}/status", world.agent().id()?)).context("read its status")?;
    let resident = megabytes(&status, "VmRSS")?;
    let shared = megabytes(&status, "RssShmem")? + megabytes(&status, "RssFile")?;
    section.row(vec![
        count.to_string(),
        (count * ENDPOINTS).to_string(),
        format!("{:.2}", ready.as_secs_f64()),
        format!("{resident:.1}"),
        format!("{:.1}", megabytes(&status, "RssAnon")?),
        format!("{shared:.1}"),
        format!("{:.1}", megabytes(&status, "VmHWM")?),
    ]);
    let what = format!("agent memory with {count} Services and {} endpoints", count * ENDPOINTS);
    section.target(Target::new(what, Limit::AtMost(100.0), resident, " MB"));
    Ok(section)
}

/// A line of /proc/PID/status, in MB (10^6 bytes).
pub fn megabytes(status: &str, name: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {name} in /proc/PID/status"))? * 1024.0 / 1e6)
}
