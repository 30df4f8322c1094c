//! Picking a backend of a service and taking a slot on it.

use crate::maps::{BACKENDS, SLOTS};
use crate::pick::{self, Client};
use aya_ebpf::helpers::generated::bpf_loop;
use core::ffi::c_void;
use mesh_common::admission::{self, Full};
use mesh_common::reason::Reason;
use mesh_common::select;
use mesh_common::tables::{Backend, BackendId, Service, SlotRange};

/// A backend that was chosen, and why.
pub struct Choice {
    pub id: BackendId,
    pub backend: &'static Backend,
    pub reason: Reason,
    /// The random bits of the pick; sampling uses them again.
    pub random: u32,
}

/// The backend in a slot.
#[inline(always)]
pub fn in_slot(slot: u32) -> Option<(BackendId, &'static Backend)> {
    let id = *SLOTS.get(slot)?;
    Some((BackendId(id), BACKENDS.get(id)?))
}

/// Picks a backend below `limit` connections and takes a slot on it.
#[inline(always)]
pub fn take(service: &Service, range: SlotRange, limit: u64, client: Client) -> Result<Choice, Reason> {
    let random = pick::random();
    let first = pick::position(service, range, random, client);
    let Some((id, backend)) = in_slot(range.base.wrapping_add(first)) else { return Err(Reason::Inconsistent) };
    match admission::take(&backend.active, limit) {
        Ok(()) => Ok(Choice { id, backend, reason: Reason::Selected, random }),
        Err(full) => {
            let id = spill(range, first, limit);
            match BACKENDS.get(id.0) {
                Some(backend) if id != BackendId(0) => Ok(Choice { id, backend, reason: Reason::Spilled, random }),
                _ if matches!(full, Full::Contended) => Err(Reason::Contended),
                _ => Err(Reason::BackendLimit),
            }
        }
    }
}

/// What the search for a backend with room needs to know, and what it found.
struct Search {
    range: SlotRange,
    first: u32,
    found: BackendId,
    limit: u64,
}

/// Takes a slot on the first backend after `first` that has room; id 0 when none has.
#[inline(always)]
fn spill(range: SlotRange, first: u32, limit: u64) -> BackendId {
    let mut search = Search { range, first, found: BackendId(0), limit };
    let tries = range.len.saturating_sub(1);
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(tries, try_next as *mut c_void, (&raw mut search).cast(), 0) };
    search.found
}

/// One step of the search; 1 ends it. A callback is verified once, whatever the number of slots: a plain loop of some
/// hundred steps exceeds the verifier's million instructions.
extern "C" fn try_next(step: u64, search: *mut c_void) -> i64 {
    // SAFETY: `spill` passes its own `Search`, which nobody else holds.
    let search = unsafe { &mut *search.cast::<Search>() };
    let position = select::next(search.first, (step as u32).wrapping_add(1), search.range.len);
    let Some((id, backend)) = in_slot(search.range.base.wrapping_add(position)) else { return 0 };
    if admission::take_once(&backend.active, search.limit) {
        search.found = id;
        return 1;
    }
    0
}
