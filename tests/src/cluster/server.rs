//! A program of the control plane: started, killed, paused and started again, always with the same arguments.

use crate::world::{Cgroup, Netns, Process, command_inside};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, setsid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One program. It ends with its world at the latest.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    place: (Netns, Cgroup),
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Server {
    /// A program that is not running yet.
    pub fn new(
        name: &'static str,
        arguments: impl IntoIterator<Item = OsString>,
        place: (Netns, Cgroup),
        log: PathBuf,
    ) -> Result<Self> {
        let program = super::components::find(name)?;
        let arguments = arguments.into_iter().collect();
        Ok(Self { name, program, arguments, place, log, running: Mutex::new(None) })
    }

    /// Starts it, and waits for nothing.
    pub fn start(&self) -> Result<()> {
        let mut running = self.running();
        ensure!(running.as_mut().is_none_or(|process| process.ended().is_some()), "{} is running", self.name);
        let mut command = command_inside(&self.program, &self.place.0, &self.place.1)?;
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        *running = Some(Process::start(self.name, &mut command, self.log.clone())?);
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.take()?.kill();
        Ok(())
    }

    /// Ends it with SIGTERM and waits until it is gone.
    pub fn stop(&self) -> Result<()> {
        let mut process = self.take()?;
        process.signal(Signal::SIGTERM)?;
        process.wait().map(drop)
    }

    /// SIGSTOP: it holds its connections and says nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its process id.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.running().as_ref().with_context(|| format!("{} is not running", self.name))?.id())
    }

    /// Fails with its log when it has ended.
    pub fn check(&self) -> Result<()> {
        let ended = self.running().as_mut().and_then(Process::ended);
        ensure!(ended.is_none(), "{} ended ({}):\n{}", self.name, ended.unwrap_or_default(), self.log_tail());
        Ok(())
    }

    /// The last lines of what it wrote.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.running().as_ref().with_context(|| format!("{} is not running", self.name))?.signal(signal)
    }

    fn take(&self) -> Result<Process> {
        self.running().take().with_context(|| format!("{} is not running", self.name))
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL ends a paused one, too.
        self.kill().ok();
    }
}
