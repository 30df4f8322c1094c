//! What the agent does every few seconds: it recounts connections, and frees what waited for the last of them.

use super::engine::Engine;
use super::{clock, memory};
use jiff::{SignedDuration, Timestamp};
use std::time::Instant;

/// How long changes may hold what they took in passing.
const GIVE_BACK: SignedDuration = SignedDuration::from_mins(1);

impl Engine {
    /// Recounts the connections, and frees what waited for the last of them.
    pub fn recount(&mut self) {
        self.failovers.wake();
        match self.reconciler.audit(clock::monotonic()) {
            Ok(mut audit) => {
                self.to_look_for = std::mem::take(&mut audit.to_look_for);
                for drift in &audit.drift {
                    let is_repaired = audit.repaired.contains(drift);
                    tracing::warn!(?drift, is_repaired, "a count is not what a recount says");
                }
                self.repaired += audit.repaired.len() as u64;
                self.audit = Some((Timestamp::now(), audit));
            }
            Err(error) => tracing::warn!(%error, "the connections could not be recounted; trying again"),
        }
        let expired = self.tombstones.expire(Instant::now());
        if !expired.is_empty() {
            for service in expired {
                self.reconciler.set(service, None);
            }
            self.sync();
        }
        self.reconciler.retire();
        self.give_back_memory();
        self.look_for_pods();
        if self.former_layouts > 0 {
            self.retire_former();
        }
    }

    /// Gives back what changes took in passing, where there were any, now and then.
    fn give_back_memory(&mut self) {
        let now = Timestamp::now();
        let changed = self.last_change.is_some_and(|change| change > self.given_back);
        if changed && now.duration_since(self.given_back) > GIVE_BACK {
            memory::give_back();
            self.given_back = now;
        }
    }
}
