//! The election of the one agent that tells the cluster what is wrong: a Lease, as client-go's leader election keeps it.
//!
//! Clocks are not compared: a holder has lost the Lease when it has not changed for as long as it lasts, by the watcher's
//! own clock. Every write names the version that it replaces, so of two agents that take it at once one is refused.

use super::words;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a Lease lasts, and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long it stays taken after the holder's last word.
    pub lasts: Duration,
    /// How often the holder renews it; the others look a little less often.
    pub renew: Duration,
}

impl Default for Terms {
    /// What is told to people may wait for half a minute; a thousand nodes then ask as often as their kubelets do.
    fn default() -> Self {
        Self { lasts: Duration::from_secs(30), renew: Duration::from_secs(10) }
    }
}

/// One agent's part in the election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    terms: Terms,
    /// The Lease as it was last seen, and since when it has said so.
    seen: Option<(LeaseSpec, Instant)>,
}

/// What to do about a Lease.
#[derive(PartialEq, Debug)]
enum Decision {
    /// Another agent has it.
    Wait,
    /// Write this.
    Take(LeaseSpec),
}

impl Election {
    /// Takes part in the election over the Lease `name` in the client's own namespace, as `identity`.
    pub fn new(client: Client, name: impl Into<String>, identity: impl Into<String>, terms: Terms) -> Self {
        Self { api: Api::default_namespaced(client), name: name.into(), identity: identity.into(), terms, seen: None }
    }

    /// Takes part until `stop` is true, and then gives the Lease back; `leading` is true while this agent has it.
    pub async fn run(mut self, leading: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        let mut renewed = Instant::now();
        let mut told = String::new();
        loop {
            // A request that hangs must not keep this agent in office.
            match tokio::time::timeout(self.terms.renew, self.step()).await {
                Ok(Ok(leads)) => {
                    renewed = Instant::now();
                    told.clear();
                    self.announce(&leading, leads);
                }
                failed => {
                    let why = failed.map_or_else(|_| "no answer".to_owned(), |result| words(result.err()));
                    if renewed.elapsed() + self.terms.renew > self.terms.lasts {
                        self.announce(&leading, false);
                    }
                    if why != told {
                        tracing::warn!(lease = self.name, "the Lease cannot be kept: {why}; trying again");
                        told = why;
                    }
                }
            }
            let pause =
                if *leading.borrow() { self.terms.renew } else { self.terms.renew.mul_f64(1.0 + chance() / 2.0) };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if leading.send_replace(false) {
            // The next one need not wait; if it fails, it does.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.give_back()).await;
        }
    }

    fn announce(&self, leading: &watch::Sender<bool>, leads: bool) {
        let changed = leading.send_if_modified(|was| std::mem::replace(was, leads) != leads);
        if changed && leads {
            tracing::info!(lease = self.name, "this agent tells the cluster what is wrong with its objects");
        } else if changed {
            tracing::info!(lease = self.name, "another agent tells the cluster what is wrong with its objects");
        }
    }

    /// Takes or renews the Lease if that is this agent's to do; whether it has it.
    async fn step(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let Decision::Take(spec) = decide(&LeaseSpec::default(), &self.identity, Duration::MAX, self.terms) else {
                return Ok(false);
            };
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let created = self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await;
            return taken(created);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((spec.clone(), since));
        match decide(&spec, &self.identity, since.elapsed(), self.terms) {
            Decision::Wait => Ok(false),
            Decision::Take(spec) => {
                lease.spec = Some(spec);
                taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
            }
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity)) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

/// Whether a write won: one that another agent was faster with is no error.
fn taken(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn decide(spec: &LeaseSpec, identity: &str, unchanged: Duration, terms: Terms) -> Decision {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    if !holder.is_empty() && holder != identity && unchanged <= lasts.unwrap_or(terms.lasts) {
        return Decision::Wait;
    }
    let now = Some(MicroTime(Timestamp::now()));
    let mut taken = spec.clone();
    if holder != identity {
        taken.acquire_time.clone_from(&now);
        taken.lease_transitions = Some(spec.lease_transitions.map_or(0, |n| n.saturating_add(1)));
    }
    taken.holder_identity = Some(identity.to_owned());
    taken.lease_duration_seconds = i32::try_from(terms.lasts.as_secs().max(1)).ok();
    taken.renew_time = now;
    Decision::Take(taken)
}

/// A number from 0 to 1, so that agents that were started together do not ask together.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(random as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { lasts: Duration::from_secs(30), renew: Duration::from_secs(10) };

    fn held(by: &str, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn it_is_taken_when_nobody_has_it_or_its_time_is_over() {
        let seconds = Duration::from_secs;
        for (spec, unchanged, transitions) in [
            (LeaseSpec::default(), seconds(0), Some(0)),
            (held("", 4), seconds(0), Some(5)),
            (held("me", 4), seconds(0), Some(4)),
            (held("other", 4), seconds(15), None),
            (held("other", 4), seconds(16), Some(5)),
        ] {
            let taken = match decide(&spec, "me", unchanged, TERMS) {
                Decision::Wait => None,
                Decision::Take(taken) => {
                    assert_eq!(taken.holder_identity.as_deref(), Some("me"));
                    assert_eq!(taken.lease_duration_seconds, Some(30), "the taker's own terms hold");
                    taken.lease_transitions
                }
            };
            assert_eq!(taken, transitions, "{spec:?} unchanged for {unchanged:?}");
        }
    }
}
