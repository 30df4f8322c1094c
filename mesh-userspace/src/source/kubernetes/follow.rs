//! One kind's events, become changes for the owner of the state.

use super::Shared;
use super::kinds::{Received, Watched};
use super::known::Known;
use super::link::{Cause, Report};
use crate::model::parse::{self, Parser};
use crate::model::{Kind, ObjectRef};
use crate::source::Change;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events that become one batch, when so many are there.
const BATCH: usize = 512;

/// The longest wait for a kind that the server does not know, without the jitter.
const RARELY: Duration = Duration::from_secs(150);

/// Follows one kind until the owner is gone.
pub(super) async fn follow(watched: Watched, mut shared: Shared) {
    let mut follower = Follower { parser: Parser::new(), known: Known::default(), kind: watched.kind, complete: false };
    let mut streaming = true;
    let mut troubled = false;
    let mut absence: Option<ExponentialBackoff> = None;
    loop {
        let mut events = watched.events(&shared.client, streaming).ready_chunks(BATCH);
        let again = loop {
            let batch = tokio::select! {
                batch = events.next() => batch.unwrap_or_default(),
                renewed = shared.generation.changed() => match renewed {
                    Ok(()) => break Again::Renewed,
                    Err(_) => return,
                },
            };
            let mut changes = Vec::with_capacity(batch.len());
            let mut complete = false;
            let mut again = None;
            for event in batch {
                match event {
                    Ok(event) => {
                        absence = None;
                        complete |= follower.take(event, &mut changes);
                    }
                    Err(error) if watched.optional && is_absent(&error) => {
                        follower.take(Event::Init, &mut changes);
                        complete |= follower.take(Event::InitDone, &mut changes);
                        again = Some(Again::Absent);
                    }
                    Err(error) if streaming && is_without_streams(&error) => again = Some(Again::Paged),
                    Err(error) => {
                        // It is said, but what another mesh's rules would add is not waited for.
                        complete |= watched.foreign && status_code(&error) == Some(403);
                        troubled = true;
                        let report = Report { kind: watched.kind, trouble: Some(Cause::of(&error)) };
                        if shared.reports.send(report).await.is_err() {
                            return;
                        }
                        continue;
                    }
                }
                if std::mem::take(&mut troubled) {
                    let report = Report { kind: watched.kind, trouble: None };
                    if shared.reports.send(report).await.is_err() {
                        return;
                    }
                }
            }
            if !changes.is_empty() && shared.changes.send(changes).await.is_err() {
                return;
            }
            if complete && follower.is_first() && shared.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
                // The last kind: what the others held has been sent before they were counted.
                if shared.changes.send(vec![Change::Synced]).await.is_err() {
                    return;
                }
            }
            if let Some(again) = again {
                break again;
            }
        };
        match again {
            Again::Paged => streaming = false,
            Again::Renewed => {}
            Again::Absent => {
                drop(events); // else its connection would stay
                let wait = absence.get_or_insert_with(absences).next().unwrap_or(RARELY);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    renewed = shared.generation.changed() => if renewed.is_err() { return },
                }
            }
        }
    }
}

/// Why a kind is listed anew.
enum Again {
    /// The server does not stream lists.
    Paged,
    /// It may be another server.
    Renewed,
    /// The server does not know the kind.
    Absent,
}

/// How long to wait before a kind that the server does not know is asked for again: doubling, up to twice [`RARELY`]
/// with the jitter. Each agent of a cluster asks, and most clusters never know the kind.
fn absences() -> ExponentialBackoff {
    let doubling = ExponentialBuilder::default().with_jitter().without_max_times();
    doubling.with_min_delay(Duration::from_secs(1)).with_max_delay(RARELY).build()
}

struct Follower {
    parser: Parser,
    known: Known,
    kind: Kind,
    /// Whether a full list has been complete.
    complete: bool,
}

impl Follower {
    /// Takes in an event; whether it completed a full list.
    fn take(&mut self, event: Event<Received>, changes: &mut Vec<Change>) -> bool {
        match event {
            Event::Init => self.known.begin_list(),
            Event::InitApply(object) | Event::Apply(object) => {
                if let Some(name) = self.name(&object) {
                    let item = object.read(&mut self.parser);
                    self.known.put(name, item, changes);
                }
            }
            Event::Delete(object) => {
                if let Some(name) = self.name(&object) {
                    self.known.remove(name, changes);
                }
            }
            Event::InitDone => {
                self.known.end_list(changes);
                return true;
            }
        }
        false
    }

    /// Whether this is the first time that it is asked.
    fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.complete, true)
    }

    fn name(&self, object: &Received) -> Option<ObjectRef> {
        let (namespace, name) = object.name();
        parse::object_ref(self.kind, namespace, name)
    }
}

fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// The server does not know the kind.
fn is_absent(error: &watcher::Error) -> bool {
    status_code(error) == Some(404)
}

/// The server does not know how to stream a list (before Kubernetes 1.32, or switched off): it calls
/// `sendInitialEvents` invalid.
fn is_without_streams(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(status_code(error), Some(400 | 422))
}
