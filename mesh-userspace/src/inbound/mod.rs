//! Limits on what arrives at this node's backends, kept at their pods' interfaces: a thread of its own that follows pods and their
//! interfaces as they come and go.
//!
//! | module | holds |
//! |---|---|
//! | `worker` | the thread: what happened, done one after the other |
//! | `backends` | the limits as the programs know them |
//! | `interfaces` | which interface of the node leads to which address |
//! | [`report`] | what came of it, for people |
//!
//! A node on which no policy asks for such a limit pays nothing: nothing is attached, and the thread sleeps.

mod backends;
mod interfaces;
pub mod report;
mod worker;

pub use report::Report;

use crate::datapath::{Loaded, TcAttach};
use crate::maps::grace::Grace;
use crate::maps::inbound::InboundFigures;
use crate::model::ServiceKey;
use crate::plan::inbound::InboundLimits;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use worker::{Happened, Worker};

/// What the owner of the state tells the thread, and hears from it.
#[derive(Debug)]
pub struct Inbound {
    services: BTreeMap<ServiceKey, InboundLimits>,
    changed: bool,
    thread: Sender<Happened>,
    report: Arc<Mutex<Report>>,
    figures: InboundFigures,
}

impl Inbound {
    /// Starts the thread over whatever an earlier agent left. It changes nothing before the first [`Self::tell`].
    /// Without a `way` to attach programs the kernel is asked which it has.
    pub fn start(loaded: &Loaded, way: Option<TcAttach>, grace: Arc<Grace>) -> anyhow::Result<Self> {
        let report = Arc::new(Mutex::new(Report::default()));
        let (thread, happened) = channel();
        let way = way.map_or_else(TcAttach::of_kernel, Ok).map_err(anyhow::Error::from);
        match way.and_then(|way| Worker::new(loaded, way, grace, report.clone(), thread.clone())) {
            Ok(worker) => {
                let builder = thread::Builder::new().name("inbound".to_owned());
                builder.spawn(move || worker.run(&happened)).context("start a thread")?;
            }
            // A kernel that does not take the programs serves Services all the same.
            Err(error) => lock(&report).errors.push(format!("{error:#}")),
        }
        let figures = InboundFigures::open(loaded.pins())?;
        Ok(Self { services: BTreeMap::new(), changed: true, thread, report, figures })
    }

    /// What a Service asks for from now on.
    pub fn set(&mut self, service: &ServiceKey, limits: InboundLimits) {
        let before = self.services.get(service);
        if before.map_or(limits.is_empty(), |before| *before == limits) {
            return;
        }
        self.changed = true;
        if limits.is_empty() {
            self.services.remove(service);
        } else {
            self.services.insert(service.clone(), limits);
        }
    }

    /// Tells the thread what has changed: where several Services limit one backend, all of them hold.
    pub fn tell(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let mut all = InboundLimits::new();
        for (key, limit) in self.services.values().flatten() {
            all.entry(*key).and_modify(|other| *other = other.and(*limit)).or_insert(*limit);
        }
        // Without the thread the report says why.
        let _ = self.thread.send(Happened::Wanted(all));
    }

    /// What came of it last.
    pub fn report(&self) -> MutexGuard<'_, Report> {
        lock(&self.report)
    }

    /// Whether any Service asks for a limit.
    pub fn is_wanted(&self) -> bool {
        !self.services.is_empty()
    }

    /// What the programs count.
    pub fn figures(&self) -> &InboundFigures {
        &self.figures
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let _ = self.thread.send(Happened::Over);
    }
}
