//! A program that runs in a world until it is killed, with what it said.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running program. It goes on when this value is dropped, and ends with its pod or its world at the latest.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its stderr appended to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let child = command.stderr(file).spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Starts a command that says `ready` on stdout once it can be used, and waits for that.
    pub fn start_ready(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let mut process = Self::start(name, command.stdin(Stdio::null()).stdout(Stdio::piped()), log)?;
        let mut word = [0; 6];
        let mut stdout = process.child.stdout.take().context("the output is a pipe")?;
        if stdout.read_exact(&mut word).is_err() || word != *b"ready\n" {
            process.kill();
            bail!("{name} did not start: {}", process.log());
        }
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.id(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Kills it with SIGKILL and waits until it is gone; one that has ended already is left so.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().with_context(|| format!("wait for {}", self.name))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
