//! Programs that are started again when they end, by a process that is also the heir of every orphan.

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, wait};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// A program with its arguments.
#[derive(Debug)]
pub struct Unit {
    /// A program of Kubernetes by name.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What runs, by process.
#[derive(Debug)]
pub struct Supervisor {
    logs: PathBuf,
    programs: PathBuf,
    path: OsString,
    running: HashMap<i32, Unit>,
}

/// A program that ends at once must not take a processor for itself.
const PAUSE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Nothing runs yet. Programs are looked for in `programs`, where each finds its helpers, too.
    pub fn new(logs: PathBuf, programs: &Path) -> Self {
        let mut path = programs.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Self { logs, programs: programs.to_owned(), path, running: HashMap::new() }
    }

    /// Starts a program, what it says appended to its log.
    pub fn start(&mut self, unit: Unit) -> Result<()> {
        let log = self.logs.join(format!("{}.log", unit.program));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = self.command(unit.program);
        command.args(&unit.arguments).stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().with_context(|| format!("start {}", unit.program))?;
        // Not waited for by this value but by `keep_running`, which waits for every process.
        self.running.insert(child.id().cast_signed(), unit);
        Ok(())
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[OsString]) -> Result<()> {
        let output = self.command(program).args(arguments).output().with_context(|| format!("run {program}"))?;
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {}", complained.trim());
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("PATH", &self.path);
        command
    }

    /// Waits for every process of the node, and starts again what must run.
    pub fn keep_running(mut self) -> Result<Infallible> {
        loop {
            let ended = match wait() {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("wait for the node's processes"),
            };
            if let Some(unit) = self.running.remove(&ended.as_raw()) {
                eprintln!("{} has ended: it is started again", unit.program);
                thread::sleep(PAUSE);
                self.start(unit)?;
            }
        }
    }
}
