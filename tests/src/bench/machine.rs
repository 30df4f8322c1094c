//! The machine that is measured, and how busy it was.

use crate::priority;
use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::sys::utsname::uname;
use std::fmt;
use std::fs;

/// What a reader needs to know to compare figures.
#[derive(Debug)]
pub struct Machine {
    date: Timestamp,
    kernel: String,
    processor: String,
    processors: usize,
    memory_gib: f64,
    scheduling: String,
    load_before: String,
    load_after: Option<String>,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Result<Self> {
        let uname = uname().context("ask for the kernel's version")?;
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        let kib: f64 = total.and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
        Ok(Self {
            date: Timestamp::now(),
            kernel: format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
            processor: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned()),
            processors: std::thread::available_parallelism().context("count the processors")?.get(),
            memory_gib: kib / 1024.0 / 1024.0,
            scheduling: priority::describe(),
            load_before: load()?,
            load_after: None,
        })
    }

    /// Notes the load at the end.
    pub fn look_again(&mut self) -> Result<()> {
        self.load_after = Some(load()?);
        Ok(())
    }
}

fn load() -> Result<String> {
    let averages = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(averages.split(' ').next().unwrap_or_default().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | |\n|---|---|")?;
        writeln!(f, "| date | {} |", self.date.strftime("%Y-%m-%d %H:%M UTC"))?;
        writeln!(f, "| kernel | {} |", self.kernel)?;
        writeln!(f, "| processor | {} x {} |", self.processors, self.processor)?;
        writeln!(f, "| memory | {:.1} GiB |", self.memory_gib)?;
        writeln!(f, "| measuring thread | {} |", self.scheduling)?;
        write!(f, "| load average over a minute, before | {} |", self.load_before)?;
        if let Some(after) = &self.load_after {
            write!(f, "\n| load average, after | {after} |")?;
        }
        writeln!(f)
    }
}
