//! Asking backends that are ejected whether they take connections again, where their Service's policy wants that.
//!
//! A probe is a TCP connect from the agent's own network namespace to the endpoint's own address; it sends nothing. One
//! that succeeds ends an ejection for connects that failed before its time. An ejection for resets, silence or
//! slow answers runs its time: a handshake says nothing about what comes after it. A probe that fails changes nothing.

use super::clock;
use super::engine::Engine;
use crate::maps::{Arrays, Maps};
use crate::model::Probe;
use crate::plan::BackendKey;
use crate::plan::applied::Account;
use mesh_common::outlier::{self, Standing};
use mesh_common::tables::{BackendId, ServiceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Most probes under way at once; the others wait for their turn.
const AT_ONCE: usize = 64;

/// When those that found no room are looked at again.
const SOONEST: Duration = Duration::from_secs(1);

/// Whose ejected backends are asked, by account, and how.
pub type Rules = BTreeMap<ServiceId, Probe>;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The account of the backend.
    pub account: ServiceId,
    /// The backend.
    pub id: BackendId,
    /// Its endpoint.
    pub key: BackendKey,
    /// How it stood when it was asked.
    pub standing: u64,
    /// Whether it took the connection.
    pub answered: bool,
}

/// Who is asked, and when.
#[derive(Debug, Default)]
pub struct Probes {
    rules: Rules,
    /// When each ejected backend may be asked again.
    next: HashMap<BackendId, Instant>,
    under_way: HashSet<BackendId>,
    /// When the accounts are looked at again; `None` where nobody asks for it.
    look: Option<Instant>,
}

impl Probes {
    /// From now on this is asked for.
    pub fn set(&mut self, rules: Rules, now: Instant) {
        self.look = (!rules.is_empty()).then_some(now);
        self.rules = rules;
    }

    /// When to look for ejected backends; `None` where no policy asks for it.
    pub fn look(&self) -> Option<Instant> {
        self.look
    }

    /// The probes that are due; none before the next look. `milliseconds` is the programs' clock.
    pub fn due<'a>(
        &mut self,
        account: impl Fn(ServiceId) -> Option<&'a Account>,
        arrays: &Arrays<'_>,
        (now, milliseconds): (Instant, u64),
    ) -> Vec<(Found, Duration)> {
        if self.look.is_none_or(|look| now < look) {
            return Vec::new();
        }
        self.look = self.rules.values().map(|probe| now + probe.interval).min();
        let (mut wanted, mut out) = (Vec::new(), HashSet::new());
        for (&id, &probe) in &self.rules {
            let is_any = arrays.outlier(id).is_some_and(|outlier| outlier.ejected.load() > 0);
            let Some(account) = account(id).filter(|_| is_any) else { continue };
            let connects = account.outlier.thresholds.connects;
            for (&key, backend) in &account.backends {
                let Some(entry) = arrays.backend(backend.id) else { continue };
                let word = entry.standing.load();
                let standing = Standing::unpack(word);
                let by_connects = connects > 0 && standing.connects >= connects;
                if standing.left(milliseconds) == 0 || !by_connects {
                    continue;
                }
                out.insert(backend.id);
                let next = self.next.get(&backend.id).copied();
                if next.is_none_or(|next| next <= now) && !self.under_way.contains(&backend.id) {
                    wanted.push((
                        next,
                        Found { account: id, id: backend.id, key, standing: word, answered: false },
                        probe,
                    ));
                }
            }
        }
        self.next.retain(|id, _| out.contains(id));
        // Who was never asked comes first, then who has waited longest.
        wanted.sort_by_key(|(next, ..)| *next);
        let room = AT_ONCE.saturating_sub(self.under_way.len());
        if wanted.len() > room {
            self.look = Some(now + SOONEST);
            wanted.truncate(room);
        }
        let ask = |(_, found, probe): (_, Found, Probe)| {
            self.under_way.insert(found.id);
            self.next.insert(found.id, now + probe.interval);
            (found, probe.timeout)
        };
        wanted.into_iter().map(ask).collect()
    }

    /// A probe is over.
    pub fn over(&mut self, id: BackendId) {
        self.under_way.remove(&id);
    }
}

/// Asks a backend.
pub async fn ask(found: Found, timeout: Duration) -> Found {
    let address = SocketAddr::new(found.key.address.into(), found.key.port.host());
    let answer = tokio::time::timeout(timeout, TcpStream::connect(address)).await;
    Found { answered: matches!(answer, Ok(Ok(_))), ..found }
}

/// Ends the ejection that was probed, if it is still the same one; whether it did.
fn bring_back(found: &Found, arrays: &Arrays<'_>) -> bool {
    let (Some(entry), Some(outlier)) = (arrays.backend(found.id), arrays.outlier(found.account)) else { return false };
    found.answered && entry.standing.load() == found.standing && outlier::pardon(&entry.standing, outlier)
}

impl Engine {
    /// When to look for ejected backends to ask; `None` where no policy wants them asked.
    pub fn next_probes(&self) -> Option<Instant> {
        self.probes.look()
    }

    /// The ejected backends that are to be asked now, and how long each has for its answer.
    pub fn begin_probes(&mut self) -> Vec<(Found, Duration)> {
        let reconciler = &self.reconciler;
        let now = (Instant::now(), clock::monotonic() / 1_000_000);
        self.probes.due(|id| reconciler.applied().account(id), &reconciler.maps().arrays(), now)
    }

    /// A backend has answered, or has not.
    pub fn end_probe(&mut self, found: &Found) {
        self.probes.over(found.id);
        if bring_back(found, &self.reconciler.maps().arrays()) {
            self.reconciler.note_returned(found.account);
            tracing::info!(backend = %found.key, "an ejected backend takes connections again, and is back");
        }
    }
}

#[cfg(test)]
#[path = "ejected_tests.rs"]
mod tests;
