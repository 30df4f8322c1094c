//! What the agent takes when nothing happens, and kube-proxy beside it.

use super::rig::Rig;
use super::start::endpoints;
use crate::Effort;
use crate::interrupt;
use crate::memory::megabytes;
use crate::report::{Limit, Section, Target};
use anyhow::{Context, Result};
use nix::unistd::Pid;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Both over the same time.
pub fn measure(rig: &Rig, effort: Effort, count: u32) -> Result<Section> {
    let mut section = Section::new(
        "At rest",
        "Memory as /proc/PID/status says, and processor time as the scheduler counts it (/proc/PID/task/*/schedstat), both \
         over the same time, in which no object changes and no client connects.",
        &["", "Services", "endpoints", "resident, MB", "of it own", "at most, MB", "seconds", "per cent of a core"],
    );
    let processes = [("mesh", rig.agent.id()?), ("kube-proxy", rig.proxy.id()?)];
    let over = Duration::from_secs(effort.pick(3, 60));
    thread::sleep(Duration::from_secs(effort.pick(1, 10))); // what the start left to do
    let started = Instant::now();
    let before = processes.map(|(_, pid)| ran(pid));
    while started.elapsed() < over {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(200));
    }
    let elapsed = started.elapsed().as_secs_f64();
    for ((who, pid), before) in processes.into_iter().zip(before) {
        let share = 100.0 * ran(pid)?.saturating_sub(before?).as_secs_f64() / elapsed;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
        let figures = ["VmRSS", "RssAnon", "VmHWM"].map(|name| megabytes(&status, name));
        let [resident, own, most] = figures;
        let resident = resident?;
        section.row(vec![
            who.to_owned(),
            count.to_string(),
            endpoints(count),
            format!("{resident:.1}"),
            format!("{:.1}", own?),
            format!("{:.1}", most?),
            format!("{elapsed:.0}"),
            format!("{share:.3}"),
        ]);
        if who == "mesh" {
            let with = format!("with {count} Services and {} endpoints", endpoints(count));
            section.target(Target::new(format!("agent memory {with}"), Limit::AtMost(100.0), resident, " MB"));
            section.target(Target::new(format!("agent at rest {with}"), Limit::AtMost(0.1), share, " % of a core"));
        }
    }
    Ok(section)
}

/// How long all threads of a process have run.
pub fn ran(pid: Pid) -> Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("list its threads")?;
    let mut sum = 0;
    for task in tasks.flatten() {
        // One that ends in between ran for little.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("read schedstat")?;
    }
    Ok(Duration::from_nanos(sum))
}
