//! The owner's loop: what happened, done one after the other by one task.

use super::engine::Engine;
use super::ring::Ring;
use crate::api::Query;
use crate::api::answer::answer;
use crate::source::Change;
use anyhow::Context;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often connections are recounted, and what waits for the last of them is looked at.
const RECOUNT: Duration = Duration::from_secs(5);

/// How long what is wrong may change before the log is told: it is gathered from all objects.
const COMPLAIN: Duration = Duration::from_secs(1);

/// How often a pod of which the programs must know is looked for while its cgroup may come any moment: before its first connection, which
/// its images and containers come before.
const LOOK: Duration = Duration::from_millis(100);

/// What was done on another thread.
enum Done {
    Grace(crate::reconcile::GraceTicket, std::io::Result<()>),
    Drain(Result<super::drains::Round, crate::maps::MapError>),
    Look(Result<super::lifetimes::Look, crate::maps::MapError>),
    Probe(super::ejected::Found),
    Search(super::ending::Lost),
}

/// Serves until told to stop, or until the programs cannot be put in force.
pub async fn own(
    mut engine: Engine,
    mut changes: mpsc::Receiver<Vec<Change>>,
    mut queries: mpsc::Receiver<Query>,
    mut ring: Ring,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut elsewhere: JoinSet<Done> = JoinSet::new();
    let (mut draining, mut drain, mut looking) = (false, false, false);
    let mut searching = false;
    let mut recount = tokio::time::interval(RECOUNT);
    recount.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complain = tokio::time::interval(COMPLAIN);
    complain.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut to_complain = false;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let retry = engine.reconciler.next_retry();
        let next_drain = engine.next_drain().filter(|_| !draining);
        let next_probes = engine.next_probes();
        let next_failover = engine.next_failover();
        let next_look = engine.next_look().filter(|_| !looking);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            Some(batch) = changes.recv() => {
                engine.apply(batch);
                while let Ok(batch) = changes.try_recv() {
                    engine.apply(batch);
                }
                engine.sync();
                if engine.is_to_attach() {
                    engine.attach()?;
                    // Without a supervisor there is nobody to tell.
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                }
                drain = true;
                to_complain = true;
            }
            Some(done) = elsewhere.join_next() => match done.context("work on another thread")? {
                Done::Grace(ticket, result) => {
                    engine.end_grace(ticket, &result);
                    engine.sync();
                    drain = true;
                    to_complain = true;
                }
                Done::Drain(round) => {
                    draining = false;
                    drain |= engine.end_drain(round);
                }
                Done::Probe(found) => engine.end_probe(&found),
                Done::Search(lost) => {
                    searching = false;
                    engine.end_search(lost);
                }
                Done::Look(found) => {
                    looking = false;
                    engine.end_look(found);
                }
            },
            () = at(next_drain) => drain = true,
            () = at(next_look) => {}
            () = at(next_probes) => {}
            () = at(next_failover) => if engine.follow_ejections() {
                engine.sync();
                drain = true;
            },
            () = at(retry) => {
                engine.sync();
                to_complain = true;
            }
            Some(query) = queries.recv() => answer(&engine, query),
            read = ring.read(|event| engine.take_event(event)) => read.context("read events")?,
            _ = complain.tick(), if to_complain => {
                engine.complain();
                to_complain = false;
            }
            _ = look.tick(), if engine.pods().is_looking() => engine.look_for_pods(),
            _ = recount.tick() => {
                engine.recount();
                drain = true;
            }
        }
        if let Some((ticket, wait)) = engine.begin_grace() {
            elsewhere.spawn_blocking(move || Done::Grace(ticket, wait()));
        }
        // What comes up while a round is under way waits for its end.
        if !draining
            && std::mem::take(&mut drain)
            && let Some(round) = engine.begin_drain()
        {
            draining = true;
            elsewhere.spawn_blocking(move || Done::Drain(round()));
        }
        for (found, timeout) in engine.begin_probes() {
            elsewhere.spawn(async move { Done::Probe(super::ejected::ask(found, timeout).await) });
        }
        if !searching && let Some(search) = engine.begin_search() {
            searching = true;
            elsewhere.spawn_blocking(move || Done::Search(search()));
        }
        if !looking && let Some(look) = engine.begin_look() {
            looking = true;
            elsewhere.spawn_blocking(move || Done::Look(look()));
        }
    }
}

/// Resolves then; never for `None`.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
