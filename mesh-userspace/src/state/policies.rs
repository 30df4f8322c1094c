//! Policies attached to Services, by their names or by a pattern of them.

use super::ClusterState;
use super::entry::Age;
use super::view::PolicyView;
use crate::model::{ObjectRef, Origin, Policy, ServiceKey};
use std::collections::BTreeMap;

/// A policy as it was read.
#[derive(Debug)]
pub(super) struct KnownPolicy {
    pub(super) object: Policy,
    pub(super) origin: Option<Origin>,
    /// The Services that it is attached to now.
    pub(super) attached: Vec<ServiceKey>,
}

impl KnownPolicy {
    pub(super) fn view(&self) -> PolicyView<'_> {
        PolicyView { policy: &self.object, origin: self.origin.as_ref(), attached: &self.attached }
    }
}

impl ClusterState {
    pub(super) fn put_policy(&mut self, policy: Policy, origin: Option<Origin>) {
        let own = policy.object();
        let before = match self.policies.get_mut(&own) {
            Some(known) if known.object == policy => {
                known.origin = origin;
                return;
            }
            Some(known) => std::mem::take(&mut known.attached),
            None => Vec::new(),
        };
        let attached = self.named_by(&policy);
        for target in before.iter().filter(|target| !attached.contains(target)) {
            self.detach(target, &own);
        }
        for target in &attached {
            self.attach(target, &policy);
        }
        if policy.wildcard.is_some() {
            self.wildcards.insert(own.clone());
        } else {
            self.wildcards.remove(&own);
        }
        self.policies.insert(own, KnownPolicy { object: policy, origin, attached });
    }

    /// Each policy that came from the API server, with the generation that was read.
    pub fn policy_generations(&self) -> BTreeMap<ObjectRef, Option<i64>> {
        let of_the_server = self.policies.iter().filter(|(_, known)| known.origin.is_none());
        of_the_server.map(|(own, known)| (own.clone(), known.object.generation)).collect()
    }

    pub(super) fn take_policy(&mut self, own: &ObjectRef) {
        let Some(known) = self.policies.remove(own) else { return };
        self.wildcards.remove(own);
        for target in &known.attached {
            self.detach(target, own);
        }
    }

    /// A Service has come: patterns may name it.
    pub(super) fn attach_wildcards(&mut self, service: &ServiceKey) {
        for own in self.wildcards.clone() {
            let Some(known) = self.policies.get_mut(&own) else { continue };
            if known.object.wildcard.as_ref().is_some_and(|wildcard| wildcard.matches(service)) {
                known.attached.push(service.clone());
                let policy = known.object.clone();
                self.attach(service, &policy);
            }
        }
    }

    /// A Service has gone: what named it by its name waits for it, patterns do not.
    pub(super) fn detach_wildcards(&mut self, service: &ServiceKey) {
        for own in self.wildcards.clone() {
            let Some(known) = self.policies.get_mut(&own) else { continue };
            if let Some(position) = known.attached.iter().position(|attached| attached == service) {
                known.attached.swap_remove(position);
                self.detach(service, &own);
            }
        }
    }

    fn named_by(&self, policy: &Policy) -> Vec<ServiceKey> {
        let mut named = policy.targets.clone();
        if let Some(wildcard) = &policy.wildcard {
            let there = self.entries.iter().filter(|(_, entry)| entry.service.is_some()).map(|(key, _)| key);
            named.extend(there.filter(|key| wildcard.matches(key)).cloned());
        }
        named
    }

    fn attach(&mut self, target: &ServiceKey, policy: &Policy) {
        let own = policy.object();
        let since = self.next_seen();
        let entry = self.entries.entry(target.clone()).or_default();
        let was_in_force = entry.policy() == Some(&own);
        let since = entry.detach(&own).unwrap_or(since);
        entry.attach(Age::new(&policy.created, since, false).reaching(reach(policy, target)), own.clone());
        if was_in_force || entry.policy() == Some(&own) {
            self.dirty.insert(target.clone());
        }
    }

    fn detach(&mut self, target: &ServiceKey, own: &ObjectRef) {
        let Some(entry) = self.entries.get_mut(target) else { return };
        if entry.policy() == Some(own) {
            self.dirty.insert(target.clone());
        }
        entry.detach(own);
        self.drop_if_empty(target);
    }
}

/// How far a policy reaches for this Service: one that names it comes before a pattern, a longer pattern before a shorter
/// one, and all of the Service's own namespace before those of another (Istio's root namespace).
fn reach(policy: &Policy, target: &ServiceKey) -> u32 {
    let from_afar = if policy.namespace == target.namespace { 0 } else { 1 << 16 };
    from_afar
        + policy.wildcard.as_ref().map_or(0, |wildcard| {
            1 + u32::from(u16::MAX).saturating_sub(u32::try_from(wildcard.suffix.len()).unwrap_or(u32::MAX) + 1)
        })
}
