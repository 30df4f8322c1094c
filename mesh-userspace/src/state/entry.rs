//! One Service with all that is attached to it.

use crate::model::{EndpointSlice, Origin, Policy, Service, ServiceKey};
use std::sync::Arc;

/// What decides who wins where two objects want the same: the older by `creationTimestamp` (one without it is the
/// younger), then the one seen first, then the smaller name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Age {
    undated: bool,
    created: Arc<str>,
    seen: u64,
    key: ServiceKey,
}

impl Age {
    pub(super) fn new(created: &Arc<str>, seen: u64, key: ServiceKey) -> Self {
        Self { undated: created.is_empty(), created: created.clone(), seen, key }
    }

    pub(super) fn created(&self) -> Arc<str> {
        self.created.clone()
    }
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Known<T> {
    pub(super) object: T,
    pub(super) origin: Origin,
    /// How many objects had been seen before it, so that the first of two can be told.
    pub(super) seen: u64,
}

/// All that hangs on one Service's name. Slices and policies may be there before their Service.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) service: Option<Known<Service>>,
    /// Sorted by name.
    pub(super) slices: Vec<EndpointSlice>,
    /// The policies that name it, by their keys; the first is in force. Sorted by age.
    pub(super) policies: Vec<ServiceKey>,
}

impl Entry {
    pub(super) fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices.is_empty() && self.policies.is_empty()
    }

    /// Puts a slice in its place; whether anything changed.
    pub(super) fn put_slice(&mut self, slice: EndpointSlice) -> bool {
        match self.slices.binary_search_by(|known| known.name.cmp(&slice.name)) {
            Ok(position) if self.slices[position] == slice => false,
            Ok(position) => {
                self.slices[position] = slice;
                true
            }
            Err(position) => {
                self.slices.reserve_exact(1);
                self.slices.insert(position, slice);
                true
            }
        }
    }

    /// Takes a slice away; whether it was there.
    pub(super) fn take_slice(&mut self, name: &str) -> bool {
        let position = self.slices.iter().position(|slice| *slice.name == *name);
        position.map(|position| self.slices.remove(position)).is_some()
    }

    /// The age of a policy.
    pub(super) fn policy_age(policy: &Known<Policy>) -> Age {
        let object = &policy.object;
        Age::new(&object.created, policy.seen, ServiceKey::new(object.namespace.clone(), object.name.clone()))
    }
}
