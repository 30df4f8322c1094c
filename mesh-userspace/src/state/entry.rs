//! All that hangs on one Service's name.

use crate::model::{EndpointSlice, ObjectRef, Origin, Service};
use std::net::IpAddr;
use std::sync::Arc;

/// Who wins where two objects want the same: the older by `creationTimestamp` (one without it is the younger), then the
/// one that wanted it first, so that a slip in one manifest takes nothing from another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Age {
    /// How far what wants it reaches: what names one Service comes before what names many.
    reach: u32,
    /// Only a former form of the object wants it: anyone else comes first.
    held: bool,
    undated: bool,
    created: Arc<str>,
    pub(super) seen: u64,
}

impl Age {
    pub(super) fn new(created: &Arc<str>, seen: u64, held: bool) -> Self {
        Self { reach: 0, held, undated: created.is_empty(), created: created.clone(), seen }
    }

    /// The same, of a want that reaches so far.
    pub(super) fn reaching(self, reach: u32) -> Self {
        Self { reach, ..self }
    }
}

/// A Service.
#[derive(Debug)]
pub(super) struct KnownService {
    /// What is in force.
    pub(super) object: Service,
    pub(super) origin: Option<Origin>,
    /// What was written since, but wants an address that another Service has.
    pub(super) waiting: Option<Box<(Service, Option<Origin>)>>,
    /// The addresses that it wants, in either form, and since when.
    pub(super) claims: Vec<(IpAddr, u64)>,
}

impl KnownService {
    /// The Service as it was last written, and where.
    pub(super) fn latest(&self) -> (&Service, &Option<Origin>) {
        match &self.waiting {
            Some(waiting) => (&waiting.0, &waiting.1),
            None => (&self.object, &self.origin),
        }
    }
}

/// A Service, its slices and its policies, each of which may be there before the others.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) service: Option<KnownService>,
    /// Sorted by name.
    pub(super) slices: Vec<EndpointSlice>,
    /// The policies that name it, sorted by age: the first is in force.
    pub(super) policies: Vec<(Age, ObjectRef)>,
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

    /// The policy in force.
    pub(super) fn policy(&self) -> Option<&ObjectRef> {
        self.policies.first().map(|(_, key)| key)
    }

    /// Takes a policy away; since when it was attached, if it was.
    pub(super) fn detach(&mut self, policy: &ObjectRef) -> Option<u64> {
        let position = self.policies.iter().position(|(_, key)| key == policy)?;
        Some(self.policies.remove(position).0.seen)
    }

    /// Attaches a policy in the place of its age.
    pub(super) fn attach(&mut self, age: Age, policy: ObjectRef) {
        let position = self.policies.partition_point(|(other, _)| *other < age);
        self.policies.insert(position, (age, policy));
    }
}
