//! Which backends have gone so long ago that their connections are to be ended.
//!
//! When a backend went is in its entry, so an agent that takes over goes on with the clock of the one before.

use super::Reconciler;
use crate::maps::Maps;
use crate::plan::applied::Gone;
use mesh_common::tables::BackendId;
use std::collections::HashSet;

/// Whose connections are to be ended, at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ending {
    /// Backends whose time is over and that have connections, or may yet get one from a program that picked it before it went.
    pub due: HashSet<BackendId>,
    /// When the next one's time is over, nanoseconds of the monotonic clock; `None` for never.
    pub next: Option<u64>,
}

impl<M: Maps> Reconciler<M> {
    /// Whose connections are to be ended at `now`, nanoseconds of the monotonic clock. Nobody's before every source has
    /// reported: until then it is not known what the Services ask for.
    pub fn ending(&self, now: u64) -> Ending {
        let mut ending = Ending::default();
        if self.adopting {
            return ending;
        }
        for (id, gone) in self.applied.gone() {
            let Some(at) = self.ends_at(id, gone) else { continue };
            if now < at {
                ending.next = Some(ending.next.map_or(at, |next| next.min(at)));
            } else {
                ending.due.insert(id);
            }
        }
        ending
    }

    /// When the connections of a backend that has gone are ended, nanoseconds of the monotonic clock; `None` for never, or
    /// when it has none and gets none.
    pub fn ends_at(&self, id: BackendId, gone: &Gone) -> Option<u64> {
        let after = gone.ends?;
        let entry = self.maps.arrays().backend(id)?;
        let is_draining = entry.active.load() > 0 || !self.applied.quarantine.has_passed(gone.since);
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        is_draining.then(|| entry.since.load().saturating_add(after))
    }
}
