//! What was freed but may still be in the hands of a program that runs: it waits for a grace period.

use mesh_common::tables::{BackendId, ServiceId, SlotRange};
use std::collections::VecDeque;

/// A stretch of time between two grace periods. What happened in an epoch is invisible to every running program once a
/// grace period has passed that began after the epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Epoch(u64);

/// Something that may be reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// A range of `SLOTS`.
    Slots(SlotRange),
    /// An index of `SERVICES`.
    Service(ServiceId),
    /// An index of `BACKENDS`.
    Backend(BackendId),
}

/// What was freed, by the epoch in which it was.
#[derive(Clone, Debug)]
pub struct Quarantine {
    now: Epoch,
    /// The last epoch that no running program can have seen.
    passed: Option<Epoch>,
    /// The last epoch in which something was made unreachable.
    stirred: Option<Epoch>,
    waiting: VecDeque<(Epoch, Freed)>,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { now: Epoch(1), passed: None, stirred: None, waiting: VecDeque::new() }
    }
}

impl Quarantine {
    /// The epoch of what happens now.
    pub fn now(&self) -> Epoch {
        self.now
    }

    /// An epoch that has passed: of what was there before this agent waited for its first grace period.
    pub fn before_all() -> Epoch {
        Epoch(0)
    }

    /// Whether no running program can have seen `epoch`.
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        epoch == Self::before_all() || self.passed.is_some_and(|passed| epoch <= passed)
    }

    /// Notes that something was made unreachable: a grace period has a purpose.
    pub fn stir(&mut self) {
        self.stirred = Some(self.now);
    }

    /// Whether something was made unreachable that a running program may still have seen.
    pub fn wants_grace(&self) -> bool {
        self.stirred.is_some_and(|epoch| !self.has_passed(epoch))
    }

    /// Puts in what must not be reused yet.
    pub fn put(&mut self, freed: Freed) {
        self.stir();
        self.waiting.push_back((self.now, freed));
    }

    /// What waits.
    pub fn waiting(&self) -> impl Iterator<Item = Freed> {
        self.waiting.iter().map(|(_, freed)| *freed)
    }

    /// Ends the epoch: a grace period that begins from here on covers it.
    pub fn end_epoch(&mut self) -> Epoch {
        let ended = self.now;
        self.now = Epoch(ended.0 + 1);
        ended
    }

    /// A grace period that began after `epoch` has passed: what may be reused now.
    pub fn release(&mut self, epoch: Epoch) -> Vec<Freed> {
        self.passed = self.passed.max(Some(epoch));
        let due = self.waiting.iter().take_while(|(since, _)| *since <= epoch).count();
        self.waiting.drain(..due).map(|(_, freed)| freed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_during_a_grace_period_waits_for_the_next() {
        let mut quarantine = Quarantine::default();
        quarantine.put(Freed::Service(ServiceId(1)));
        let first = quarantine.end_epoch();
        quarantine.put(Freed::Service(ServiceId(2)));
        assert!(!quarantine.has_passed(first));
        assert_eq!(quarantine.release(first), [Freed::Service(ServiceId(1))]);
        assert!(quarantine.has_passed(first) && !quarantine.has_passed(quarantine.now()));
        let second = quarantine.end_epoch();
        assert_eq!(quarantine.release(second), [Freed::Service(ServiceId(2))]);
        assert!(quarantine.waiting().next().is_none() && !quarantine.wants_grace());
    }
}
