//! A process in the client's pod: started with a job as JSON, it answers with what it measured.

use crate::{change, connect, crowd, established, interrupt, kubernetes, parameter, programs, tail, traffic};
use anyhow::{Context, Result, ensure};
use mesh_tests::world::Pod;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::env;
use std::process::Stdio;

/// What is to be measured.
#[derive(Debug, Serialize, Deserialize)]
pub enum Job {
    /// See [`connect`].
    Connect(connect::Job),
    /// See [`programs`].
    Programs(programs::Job),
    /// See [`traffic`].
    Traffic(traffic::Job),
    /// See [`crowd`].
    Crowd(crowd::Job),
    /// See [`established`].
    Established(established::Job),
    /// See [`change`].
    Change(change::Job),
    /// See [`parameter`].
    Parameter(parameter::Job),
    /// See [`tail`].
    Tail(tail::Job),
    /// See [`kubernetes::change`].
    ApiChange(kubernetes::change::Job),
    /// See [`kubernetes::connect`].
    ThreeWays(kubernetes::connect::Job),
}

/// Which Service each connection goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Pick {
    /// Always the same.
    Hot,
    /// Each with the same probability, of so many.
    Uniform(u32),
}

/// A sequence that is random enough to defeat caches and the same in each run.
#[derive(Debug)]
pub struct Sequence(u32);

impl Sequence {
    /// From the start.
    pub fn new() -> Self {
        Self(7)
    }

    /// A number below `count`.
    pub fn below(&mut self, count: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.0) * u64::from(count)) >> 32) as u32
    }

    /// The number of the next Service.
    pub fn service(&mut self, pick: Pick) -> u32 {
        match pick {
            Pick::Hot => 0,
            Pick::Uniform(count) => self.below(count),
        }
    }
}

/// Has a process in the pod do the job.
pub fn run<T: DeserializeOwned>(pod: &Pod, job: &Job) -> Result<T> {
    interrupt::check()?;
    let own = env::current_exe().context("find the running program")?;
    let job = serde_json::to_string(job).context("write the job")?;
    let mut command = pod.command(own)?;
    let output = command.args(["--inside", &job]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("start a process in the client's pod")?;
    interrupt::check()?;
    ensure!(output.status.success(), "the process in the client's pod: {}", output.status);
    serde_json::from_slice(&output.stdout).context("read what the process in the client's pod measured")
}

/// The other side of [`run`].
pub fn obey(job: &str) -> Result<()> {
    // A thread of high priority must not outlive who waits for it.
    prctl::set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
    match serde_json::from_str(job).context("read the job")? {
        Job::Connect(job) => answer(&job.run()?),
        Job::Programs(job) => answer(&job.run()?),
        Job::Traffic(job) => answer(&job.run()?),
        Job::Crowd(job) => answer(&job.run()?),
        Job::Established(job) => answer(&job.run()?),
        Job::Change(job) => answer(&job.run()?),
        Job::Parameter(job) => answer(&job.run()?),
        Job::Tail(job) => answer(&job.run()?),
        Job::ApiChange(job) => answer(&job.run()?),
        Job::ThreeWays(job) => answer(&job.run()?),
    }
}

fn answer(measured: &impl Serialize) -> Result<()> {
    serde_json::to_writer(std::io::stdout().lock(), measured).context("tell what was measured")
}
