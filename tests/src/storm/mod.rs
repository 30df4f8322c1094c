//! A storm: many processes that connect as fast as they can, some of them killed, and a count that is never wrong.
//!
//! ```no_run
//! # use mesh_tests::{storm::{Storm, Plan}, world::World};
//! # fn main() -> anyhow::Result<()> {
//! # let world = World::new()?;
//! let storm = Storm::start(&world.pod("client")?, 16, &Plan::to("10.96.0.10:80".parse()?).hold(8).connects(60_000))?;
//! storm.kill(3)?;
//! let count = storm.finish()?;
//! assert!(count.most_open <= 64 && count.failed == 0);
//! # Ok(())
//! # }
//! ```

mod board;
mod process;

pub use process::{Arguments, weather};

use crate::programs;
use crate::wait::wait_for;
use crate::world::{Pod, Process};
use anyhow::{Context, Result, ensure};
use board::Board;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What each process of a storm does: connects, holds up to a number of connections, and resets the oldest when it has
/// so many or is refused.
#[derive(Clone, Debug)]
pub struct Plan {
    to: SocketAddr,
    hold: usize,
    connects: u64,
    udp: bool,
}

impl Plan {
    /// Connects to `to` over TCP until the storm is stopped, one connection at a time.
    pub fn to(to: SocketAddr) -> Self {
        Self { to, hold: 1, connects: u64::MAX, udp: false }
    }

    /// Holds so many connections open in each process.
    #[must_use]
    pub fn hold(mut self, hold: usize) -> Self {
        self.hold = hold;
        self
    }

    /// Ends after so many calls of `connect()` in each process.
    #[must_use]
    pub fn connects(mut self, connects: u64) -> Self {
        self.connects = connects;
        self
    }

    /// Uses connected UDP sockets.
    #[must_use]
    pub fn udp(mut self) -> Self {
        self.udp = true;
        self
    }
}

/// A storm that rages.
#[derive(Debug)]
pub struct Storm {
    processes: Mutex<Vec<Option<Process>>>,
    board: Board,
    place: Place,
}

/// Where its processes run, and what they are told.
#[derive(Debug)]
struct Place {
    pod: Pod,
    plan: Plan,
    board: PathBuf,
}

impl Place {
    /// Starts the process with this number.
    fn start(&self, number: usize) -> Result<Process> {
        let Self { pod, plan, board } = self;
        let mut command = pod.detached(programs::find("mesh-client")?)?;
        command.arg("storm").arg("--board").arg(board).stdin(Stdio::null()).stdout(Stdio::null());
        command.args(["--number", &number.to_string(), "--to", &plan.to.to_string()]);
        command.args(["--hold", &plan.hold.to_string(), "--connects", &plan.connects.to_string()]);
        command.args(plan.udp.then_some("--udp"));
        Process::start(&format!("storm process {number}"), &mut command, pod.next_log("storm"))
    }
}

/// What a storm has done so far, the work of killed processes included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Connections that were made.
    pub connected: u64,
    /// Calls that gave ECONNREFUSED.
    pub refused: u64,
    /// Calls that gave any other error.
    pub failed: u64,
    /// The errno of one of those.
    pub errno: u64,
    /// Connections that are open now.
    pub open: u64,
    /// The most that were open at once. A connection counts from after its `connect()` to before its `close()`, so
    /// that this never exceeds what the kernel has admitted.
    pub most_open: u64,
}

impl Storm {
    /// Starts `processes` of them in a pod.
    pub fn start(pod: &Pod, processes: usize, plan: &Plan) -> Result<Self> {
        let path = pod.next_log("storm").with_extension("board");
        let board = Board::create(&path, processes)?;
        let place = Place { pod: pod.clone(), plan: plan.clone(), board: path };
        let processes = (0..processes).map(|number| place.start(number).map(Some)).collect::<Result<_>>()?;
        Ok(Self { processes: Mutex::new(processes), board, place })
    }

    /// What it has done so far.
    pub fn count(&self) -> Count {
        self.board.count()
    }

    /// Waits until it has made so many connections more than now.
    pub fn wait_connected(&self, more: u64) -> Result<()> {
        let goal = self.count().connected + more;
        wait_for(&format!("{more} connections more"), || {
            let count = self.count();
            if count.connected >= goal { Ok(()) } else { Err(format!("{count:?}")) }
        })
    }

    /// Kills one process with SIGKILL in the midst of what it does, with all connections that it holds.
    pub fn kill(&self, number: usize) -> Result<()> {
        let mut process = self.processes()[number].take().with_context(|| format!("process {number} was killed"))?;
        // Its connections go off the count before the kernel gives them to others: it is halted at a moment when its
        // own count is whole, then counted out, then killed.
        loop {
            process.signal(Signal::SIGSTOP)?;
            match waitpid(process.id(), Some(WaitPidFlag::WUNTRACED)).context("halt a storm process")? {
                WaitStatus::Stopped(..) if self.board.count_out(number) => break,
                WaitStatus::Stopped(..) => process.signal(Signal::SIGCONT)?,
                // It came to its end by itself; its count is whole.
                _ => return Ok(()),
            }
        }
        process.kill();
        Ok(())
    }

    /// [`Storm::kill`], and another process in its place.
    pub fn replace(&self, number: usize) -> Result<()> {
        self.kill(number)?;
        self.processes()[number] = Some(self.place.start(number)?);
        Ok(())
    }

    /// How many processes it began with.
    pub fn processes_at_start(&self) -> usize {
        self.processes().len()
    }

    /// Halts all processes with SIGSTOP, wherever they are: until [`Storm::go_on`] nobody connects or closes.
    pub fn halt(&self) -> Result<()> {
        for process in self.processes().iter().flatten() {
            process.signal(Signal::SIGSTOP)?;
            let status = waitpid(process.id(), Some(WaitPidFlag::WUNTRACED)).context("halt a storm process")?;
            ensure!(matches!(status, WaitStatus::Stopped(..)), "a storm process ended by itself: {status:?}");
        }
        Ok(())
    }

    /// Begins [`Count::most_open`] anew, while all are halted. A client counts a connection until it closes it: one that its
    /// server's death has ended is one too many until then.
    pub fn forget_most(&self) {
        self.board.forget_most();
    }

    /// Lets all processes go on.
    pub fn go_on(&self) -> Result<()> {
        self.processes().iter().flatten().try_for_each(|process| process.signal(Signal::SIGCONT))
    }

    /// Tells all processes to close what they hold and to end.
    pub fn stop(&self) {
        self.board.stop();
    }

    /// Waits until every process has done its part, and returns what came of it.
    pub fn finish(self) -> Result<Count> {
        for mut process in self.processes().drain(..).flatten() {
            let status = process.wait()?;
            ensure!(status.success(), "a storm process ended with {status}: {}", process.log());
        }
        Ok(self.count())
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Option<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
