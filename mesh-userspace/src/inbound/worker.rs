//! The thread: what happened, done one after the other.

use super::backends::{Backends, Suspect};
use super::interfaces::{self, Interface};
use super::report::Report;
use crate::bpf;
use crate::datapath::{InterfacePrograms, Loaded, RECOUNT, TcAttach};
use crate::maps::grace::Grace;
use crate::maps::inbound::InboundMaps;
use crate::plan::BackendKey;
use crate::plan::inbound::InboundLimits;
use mesh_common::tables::InboundKey;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often connections are recounted, and interfaces looked at whatever the kernel tells.
const ROUND: Duration = Duration::from_secs(5);

/// How long after a recount none is made because interfaces changed: where pods come and go all the time they would be many.
const BETWEEN: Duration = Duration::from_secs(1);

/// How often a pod's interface is looked for that should be there any moment.
const LOOK: Duration = Duration::from_millis(100);

/// How long after a change it is looked for so often: its addresses come soon after it.
const OFTEN: Duration = Duration::from_secs(30);

/// The most that is handed to the programs at once: an Ethernet header of no known protocol, and a record's key.
const QUESTION: usize = 14 + size_of::<InboundKey>();

/// What happened.
pub enum Happened {
    /// These limits are wanted from now on, and no others.
    Wanted(InboundLimits),
    /// Interfaces came, went or changed.
    Interfaces,
    /// The agent ends.
    Over,
}

/// What the thread owns.
pub struct Worker {
    wanted: InboundLimits,
    backends: Backends,
    programs: InterfacePrograms,
    recount: OwnedFd,
    report: Arc<Mutex<Report>>,
    /// What is reported, as it comes about.
    next: Report,
    /// To itself, for the thread that follows interfaces; taken by it.
    happened: Option<Sender<Happened>>,
    /// The last change of what is wanted or of interfaces.
    changed: Instant,
    /// What the last recount found off.
    suspects: BTreeMap<BackendKey, Suspect>,
}

impl Worker {
    /// Over what an earlier agent left.
    pub fn new(
        loaded: &Loaded,
        way: TcAttach,
        grace: Arc<Grace>,
        report: Arc<Mutex<Report>>,
        happened: Sender<Happened>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            wanted: InboundLimits::new(),
            backends: Backends::adopt(InboundMaps::open(loaded.pins())?, grace)?,
            programs: InterfacePrograms::new(loaded, way)?,
            recount: loaded.packet_program(RECOUNT)?,
            report,
            next: Report { attached_by: Some(way), ..Report::default() },
            happened: Some(happened),
            changed: Instant::now(),
            suspects: BTreeMap::new(),
        })
    }

    /// Works until the agent ends.
    pub fn run(mut self, happened: &Receiver<Happened>) {
        let mut round = Instant::now();
        let mut is_told = false;
        loop {
            let wait = match () {
                // What an earlier agent left holds until the state is known.
                () if !is_told || self.is_idle() => Duration::from_hours(24),
                () if self.is_looking() => LOOK,
                () => ROUND.saturating_sub(round.elapsed()),
            };
            let mut due = false;
            let first = match happened.recv_timeout(wait) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Where pods come and go all the time, one look serves for many changes.
            for event in first.into_iter().chain(happened.try_iter()) {
                self.changed = Instant::now();
                match event {
                    Happened::Wanted(limits) => {
                        is_told = true;
                        self.wanted = limits;
                    }
                    // Pods that went take their sockets with them.
                    Happened::Interfaces => due = round.elapsed() >= BETWEEN,
                    Happened::Over => return,
                }
            }
            if !is_told {
                continue;
            }
            self.next.errors.clear();
            self.apply();
            self.look();
            if due || round.elapsed() >= ROUND {
                round = Instant::now();
                if let Err(error) = self.recount() {
                    self.complain(&error);
                }
            }
            self.publish();
        }
    }

    fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.backends.is_empty() && self.next.errors.is_empty()
    }

    fn is_looking(&self) -> bool {
        !self.next.missing.is_empty() && self.changed.elapsed() < OFTEN
    }

    fn apply(&mut self) {
        if !self.wanted.is_empty() {
            self.follow_interfaces();
        }
        match self.backends.set(&self.wanted) {
            Ok(left_out) => self.next.left_out = left_out,
            Err(error) => self.complain(&error),
        }
    }

    /// Begins to follow the node's interfaces, once there is a limit.
    fn follow_interfaces(&mut self) {
        let Some(happened) = self.happened.take() else { return };
        // Filters may be taken away by others, links may not.
        let with_filters = self.programs.way() == TcAttach::Clsact;
        let follow = move || {
            if let Err(error) = interfaces::follow(with_filters, || happened.send(Happened::Interfaces).is_ok()) {
                tracing::warn!(%error, "the kernel does not tell of interfaces any more; they are looked at every 5 s");
            }
        };
        if let Err(error) = thread::Builder::new().name("interfaces".to_owned()).spawn(follow) {
            tracing::warn!(%error, "no thread to follow interfaces; they are looked at every 5 s");
        }
    }

    /// Finds the pods' interfaces, and attaches the programs to those, and to no others.
    fn look(&mut self) {
        let addresses: HashSet<_> = self.backends.keys().map(|key| key.address).collect();
        let found: HashMap<_, Interface> = match interfaces::find(&addresses) {
            Ok(found) => found,
            Err(error) => return self.complain(&anyhow::Error::from(error).context("list the node's interfaces")),
        };
        let keys: Vec<BackendKey> = self.backends.keys().copied().collect();
        let mut missing = BTreeMap::new();
        for key in &keys {
            let interface = found.get(&key.address);
            if interface.is_none() {
                let since = self.next.missing.get(key).copied();
                missing.insert(*key, since.unwrap_or_else(Instant::now));
            }
            if let Err(error) = self.backends.locate(key, interface.map(|interface| interface.netns)) {
                self.complain(&error);
            }
        }
        let interfaces: BTreeSet<u32> = found.values().map(|interface| interface.index).collect();
        let errors = self.programs.keep(&interfaces);
        self.next.in_force = if errors.is_empty() { keys.len() - missing.len() } else { 0 };
        self.next.backends = keys.len() as u64;
        self.next.interfaces = interfaces.len();
        self.next.missing = missing;
        for error in errors {
            self.complain(&error.into());
        }
    }

    /// Asks the program about every record: those whose sockets are gone give their slots back.
    fn recount(&mut self) -> anyhow::Result<()> {
        let mut question = [0_u8; QUESTION];
        for record in self.backends.connections()? {
            question[14..].copy_from_slice(&record.bytes());
            let (given_back, _) = bpf::run_on_packet(self.recount.as_fd(), &question, 1)?;
            self.next.given_back += u64::from(given_back);
        }
        let records = self.backends.connections()?;
        self.next.records = records.len() as u64;
        self.next.connections = records.iter().filter(|record| record.is_whole()).count() as u64;
        self.next.drifted = 0;
        let before = std::mem::take(&mut self.suspects);
        for (key, suspect) in self.backends.compare(&records)? {
            let before = before.get(&key);
            // Nothing has come or gone in between: nothing is under way.
            let is_repaired = before == Some(&suspect);
            if before.is_some_and(|before| before.off == suspect.off) {
                let by = suspect.off;
                tracing::warn!(%key, by, is_repaired, "the count of inbound connections is not what a recount says");
                self.next.drifted += usize::from(!is_repaired);
            }
            if is_repaired {
                self.backends.set_right(&key, &suspect)?;
                self.next.repaired += 1;
            } else {
                self.suspects.insert(key, suspect);
            }
        }
        Ok(())
    }

    fn complain(&mut self, error: &anyhow::Error) {
        tracing::warn!(error = format!("{error:#}"), "limits at backends; trying again");
        self.next.errors.push(format!("{error:#}"));
    }

    fn publish(&self) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.clone_from(&self.next);
    }
}
