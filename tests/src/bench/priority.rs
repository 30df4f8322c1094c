//! Keeping the measuring thread on its processor: other work must not stop it in the middle of what is timed.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Below the kernel's own threads that have a priority.
const PRIORITY: i32 = 10;

/// Gives this thread the last processor, with SCHED_FIFO.
pub fn raise() -> Result<()> {
    let last = thread::available_parallelism().context("count the processors")?.get() - 1;
    let mut processors = CpuSet::new();
    processors.set(last).context("name the last processor")?;
    sched_setaffinity(Pid::from_raw(0), &processors).context("stay on one processor")?;
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    #[expect(unsafe_code, reason = "nix has no sched_setscheduler")]
    // SAFETY: a plain system call; the parameters outlive it.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result < 0 {
        return Err(io::Error::last_os_error()).context("sched_setscheduler(SCHED_FIFO)");
    }
    Ok(())
}

/// What [`raise`] does here, for the report.
pub fn describe() -> String {
    match thread::spawn(raise).join() {
        Ok(Ok(())) => format!("SCHED_FIFO {PRIORITY}, on one processor"),
        Ok(Err(error)) => format!("ordinary priority, so preemption shows ({error:#})"),
        Err(_) => "unknown".to_owned(),
    }
}

/// Sleeps a tenth of the time: a thread of this priority that never does is stopped by the kernel for 50 ms in each
/// second, wherever it is, so that the others run too.
#[derive(Debug)]
pub struct Breath {
    since: Instant,
}

impl Breath {
    const WORK: Duration = Duration::from_millis(18);
    const REST: Duration = Duration::from_millis(2);

    /// From now on.
    pub fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Sleeps if it is time to.
    pub fn take(&mut self) {
        if self.since.elapsed() > Self::WORK {
            thread::sleep(Self::REST);
            self.since = Instant::now();
        }
    }
}
