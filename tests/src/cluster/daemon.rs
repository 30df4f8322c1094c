//! A program of Kubernetes that runs until a test does something to it.

use super::place::Place;
use crate::wait::wait_for;
use crate::world::Process;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, setsid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A program with its arguments, in its place. It ends with its place at the latest.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    arguments: Vec<OsString>,
    place: Place,
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Daemon {
    /// A program that is not running yet.
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>, place: &Place) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = place.logs().join(format!("{name}.log"));
        Self { program, arguments, place: place.clone(), log, running: Mutex::new(None) }
    }

    /// Its name: `kube-apiserver`.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts it and waits for nothing.
    pub fn start(&self) -> Result<()> {
        let mut running = self.running();
        ensure!(running.as_mut().is_none_or(|process| process.ended().is_some()), "{} is running", self.name());
        let mut command = self.place.command(&self.program)?;
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: setsid is a plain system call.
        unsafe { command.pre_exec(|| Ok(setsid().map(|_| ())?)) };
        *running = Some(Process::start(&self.name(), &mut command, self.log.clone())?);
        Ok(())
    }

    /// Kills it with SIGKILL, also when it is paused, and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.running().take().with_context(|| format!("{} is not running", self.name()))?.kill();
        Ok(())
    }

    /// Ends it with SIGTERM, and waits until it is gone.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        wait_for(&format!("{} to end", self.name()), || if self.is_running() { Err("it runs") } else { Ok(()) })?;
        *self.running() = None;
        Ok(())
    }

    /// Stops it where it is: its sockets stay open, and nobody answers. [`Daemon::resume`] lets it go on.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Daemon::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running().as_ref().with_context(|| format!("{} is not running", self.name()))?.signal(signal)
    }

    /// Its process id.
    pub fn id(&self) -> Result<Pid> {
        Ok(self.running().as_ref().with_context(|| format!("{} is not running", self.name()))?.id())
    }

    /// Whether its process is there, paused or not.
    pub fn is_running(&self) -> bool {
        self.running().as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// What it wrote, all lives together.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with the end of its log unless it runs.
    pub(super) fn ensure_running(&self) -> Result<()> {
        let log = self.log();
        let end: Vec<_> = log.lines().rev().take(20).collect();
        let end: String = end.into_iter().rev().flat_map(|line| [line, "\n"]).collect();
        ensure!(self.is_running(), "{} has ended; it said:\n{end}", self.name());
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
