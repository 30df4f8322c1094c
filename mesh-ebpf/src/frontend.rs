//! What a destination is: a Service's port, a Service's address without that port, or nothing of ours.

use crate::maps::{ADDRESSES, FILTER, FRONTENDS};
use mesh_common::tables::{FilterBit, FrontendKey, ServiceId};

/// What a destination is.
pub enum Destination {
    /// No Service's address.
    Foreign,
    /// A Service's port: its entry.
    Service(ServiceId),
    /// A Service's address, on a port that the Service does not list: its account.
    Unlisted(ServiceId),
}

/// One bit test for most of what is not ours; one hash lookup for what is.
#[inline(always)]
pub fn find(frontend: &FrontendKey) -> Destination {
    let bit = FilterBit::of(&frontend.address);
    match FILTER.get(bit.word) {
        Some(word) if *word & bit.mask != 0 => {}
        _ => return Destination::Foreign,
    }
    // SAFETY: an id never changes while its key lives, and the agent inserts nothing within a grace period of a delete:
    // a freed element is not another key's while this program runs.
    if let Some(id) = unsafe { FRONTENDS.get(frontend) } {
        return Destination::Service(*id);
    }
    // SAFETY: as above.
    match unsafe { ADDRESSES.get(frontend.address) } {
        Some(account) => Destination::Unlisted(*account),
        None => Destination::Foreign,
    }
}
