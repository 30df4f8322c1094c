//! Policies attached to Services.

use super::ClusterState;
use super::entry::Age;
use crate::model::{Origin, Policy, ServiceKey};
use std::mem;

/// A policy as it was read.
#[derive(Debug)]
pub(super) struct KnownPolicy {
    pub(super) object: Policy,
    pub(super) origin: Option<Origin>,
}

impl ClusterState {
    pub(super) fn put_policy(&mut self, policy: Policy, origin: Option<Origin>) {
        let own = ServiceKey { namespace: policy.namespace.clone(), name: policy.name.clone() };
        let before = match self.policies.get_mut(&own) {
            Some(known) if known.object == policy => {
                known.origin = origin;
                return;
            }
            Some(known) => mem::take(&mut known.object.targets),
            None => Vec::new(),
        };
        for target in before.iter().filter(|target| !policy.targets.contains(target)) {
            self.detach(target, &own);
        }
        for target in &policy.targets {
            let since = self.next_seen();
            let entry = self.entries.entry(target.clone()).or_default();
            let was_in_force = entry.policy() == Some(&own);
            let since = entry.detach(&own).unwrap_or(since);
            entry.attach(Age::new(&policy.created, since, false), own.clone());
            if was_in_force || entry.policy() == Some(&own) {
                self.dirty.insert(target.clone());
            }
        }
        self.policies.insert(own, KnownPolicy { object: policy, origin });
    }

    pub(super) fn take_policy(&mut self, own: &ServiceKey) {
        let Some(known) = self.policies.remove(own) else { return };
        for target in &known.object.targets {
            self.detach(target, own);
        }
    }

    fn detach(&mut self, target: &ServiceKey, own: &ServiceKey) {
        let Some(entry) = self.entries.get_mut(target) else { return };
        if entry.policy() == Some(own) {
            self.dirty.insert(target.clone());
        }
        entry.detach(own);
        self.drop_if_empty(target);
    }
}
