//! The kernel's statistics of programs: how often each ran, and for how long.

use anyhow::{Context, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The kernel counts as long as this lives, however the process ends; `kernel.bpf_stats_enabled` stays as it is.
#[derive(Debug)]
pub struct Counting(#[expect(dead_code, reason = "held, not read")] OwnedFd);

impl Counting {
    /// Begins to count.
    pub fn start() -> Result<Self> {
        Ok(Self(enable_stats(Stats::RunTime).context("have the kernel count what programs take")?))
    }
}

/// Runs of one program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// How long all of them took.
    pub time: Duration,
}

impl Runs {
    /// Mean ns of a run since `earlier`; `None` when there was none.
    pub fn mean_since(&self, earlier: &Self) -> Option<f64> {
        let runs = self.count.checked_sub(earlier.count).filter(|&runs| runs > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns and runs")]
        Some((self.time.saturating_sub(earlier.time)).as_nanos() as f64 / runs as f64)
    }
}

/// What the kernel has counted of the programs with these ids, by id.
pub fn read(ids: &[u32]) -> BTreeMap<u32, Runs> {
    // A program that goes while the list is read is somebody else's.
    let programs = loaded_programs().filter_map(Result::ok).filter(|program| ids.contains(&program.id()));
    programs.map(|program| (program.id(), Runs { count: program.run_count(), time: program.run_time() })).collect()
}
