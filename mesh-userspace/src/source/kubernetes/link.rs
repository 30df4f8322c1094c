//! How the source stands with the API server, and whether it is still the server that it was.
//!
//! A server whose store was wiped starts to count its versions anew. A watch that goes on from a version which that
//! server has not reached yet waits in silence. So after a connection was lost, the cluster's identity is asked for: the
//! uid of the namespace `kube-system`, as is the custom (kubernetes/kubernetes#77487). If it is another, all is listed
//! anew.

use crate::model::Kind;
use crate::source::{Change, Trouble};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::watcher;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long between two questions while the server does not answer.
const ASK: Duration = Duration::from_millis(500);

/// What became of a kind's events.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) kind: Kind,
    /// `None`: it follows.
    pub(super) trouble: Option<Cause>,
}

/// Why a kind is not followed.
#[derive(Debug)]
pub(super) struct Cause {
    /// In words.
    message: Arc<str>,
    /// Whether the server itself said so: it can be reached.
    answered: bool,
}

impl Cause {
    pub(super) fn of(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => {
                // Its own sentence: around it the error says the same twice more.
                let said = if status.message.is_empty() { words(error) } else { status.message.clone() };
                Self { message: said.into(), answered: true }
            }
            _ => Self { message: words(error).into(), answered: false },
        }
    }
}

/// The error with its causes: the outermost alone says only that something failed.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !words.contains(&inner) {
            words = format!("{words}: {inner}");
        }
        cause = error.source();
    }
    words
}

/// Keeps account of the kinds' reports until the source ends, and raises `renew` when the server is another.
pub(super) async fn watch(
    client: Client,
    changes: mpsc::Sender<Vec<Change>>,
    mut reports: mpsc::Receiver<Report>,
    renew: watch::Sender<u64>,
) {
    let mut troubles: BTreeMap<Kind, (Trouble, bool)> = BTreeMap::new();
    let mut identity = None;
    let mut asking = JoinSet::new();
    // At the start, too: whose objects these are.
    let mut ask = true;
    loop {
        if ask && asking.is_empty() {
            ask = false;
            asking.spawn(uid(client.clone()));
        }
        let before: Vec<Trouble> = listed(&troubles);
        tokio::select! {
            report = reports.recv() => match report {
                None => return,
                Some(Report { kind, trouble: None }) => drop(troubles.remove(&kind)),
                Some(Report { kind, trouble: Some(cause) }) => {
                    ask |= !cause.answered;
                    let since = troubles.get(&kind).map_or_else(Timestamp::now, |(known, _)| known.since);
                    let what = kind.to_string().into();
                    troubles.insert(kind, (Trouble { what, since, message: cause.message }, cause.answered));
                }
            },
            Some(Ok(found)) = asking.join_next() => {
                // It answers: what could not reach it can.
                troubles.retain(|_, (_, answered)| *answered);
                match (&identity, found) {
                    (Some(known), Some(found)) if *known != found => {
                        tracing::warn!("the API server is another one than before: everything is listed anew");
                        renew.send_modify(|generation| *generation += 1);
                        identity = Some(found);
                    }
                    (None, found) => identity = found,
                    _ => {}
                }
            }
        }
        let now = listed(&troubles);
        if now != before && changes.send(vec![Change::Troubles(now)]).await.is_err() {
            return;
        }
    }
}

fn listed(troubles: &BTreeMap<Kind, (Trouble, bool)>) -> Vec<Trouble> {
    troubles.values().map(|(trouble, _)| trouble.clone()).collect()
}

/// The cluster's identity, as soon as the server answers; `None` when it answers, but not that.
async fn uid(client: Client) -> Option<String> {
    let namespaces: Api<Namespace> = Api::all(client);
    loop {
        match namespaces.get_metadata_opt("kube-system").await {
            Ok(Some(found)) => return found.metadata.uid,
            // A server that has just begun makes it within a moment.
            Ok(None) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => return None,
            Err(error) => tracing::debug!(%error, "ask for the cluster's identity"),
        }
        tokio::time::sleep(ASK).await;
    }
}
