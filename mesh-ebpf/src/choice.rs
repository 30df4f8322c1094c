//! Picking a backend of a service and taking a slot on it.

use crate::health;
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
    /// Where in `SLOTS` it was found.
    pub slot: u32,
    /// The random bits of the pick; sampling uses them again.
    pub random: u32,
}

/// The position that the client keeps to, else the one that the service's rule picks, whatever its load.
#[inline(always)]
fn first(service: &Service, range: SlotRange, random: u32, client: Client, kept: Option<u32>) -> (u32, Reason) {
    match kept {
        Some(position) => (position, Reason::Affinity),
        None => (pick::position(service, range, random, client), Reason::Selected),
    }
}

/// The backend in a slot.
#[inline(always)]
pub fn in_slot(slot: u32) -> Option<(BackendId, &'static Backend)> {
    let id = *SLOTS.get(slot)?;
    Some((BackendId(id), BACKENDS.get(id)?))
}

/// Picks a backend below `limit` connections and takes a slot on it. `kept` is the position that the client keeps to, if
/// it keeps to one.
#[inline(always)]
pub fn take(
    service: &Service,
    range: SlotRange,
    limit: u64,
    client: Client,
    kept: Option<u32>,
) -> Result<Choice, Reason> {
    let choice = look(service, range, client, kept)?;
    let judged = health::judged(service.rule.load());
    let is_out = health::is_out(judged, choice.backend);
    let taken = if is_out { Err(Full::AtLimit) } else { admission::take(&choice.backend.active, limit) };
    let Err(full) = taken else { return Ok(choice) };
    let first = choice.slot.wrapping_sub(range.base);
    let mut found = spill(range.pack(), first, limit, judged);
    if is_out && found == ALL_OUT {
        // As good as none: the pick itself, or the next with room.
        if admission::take_once(&choice.backend.active, limit) {
            return Ok(choice);
        }
        found = spill(range.pack(), first, limit, 0);
    }
    let (id, slot) = (BackendId((found >> 32) as u32), found as u32);
    match BACKENDS.get(id.0) {
        Some(backend) if id != BackendId(0) => {
            Ok(Choice { id, backend, reason: Reason::Spilled, slot, random: choice.random })
        }
        _ if matches!(full, Full::Contended) => Err(Reason::Contended),
        _ => Err(Reason::BackendLimit),
    }
}

/// Picks a backend and takes nothing.
#[inline(always)]
pub fn look(service: &Service, range: SlotRange, client: Client, kept: Option<u32>) -> Result<Choice, Reason> {
    let random = pick::random();
    let (first, reason) = first(service, range, random, client, kept);
    let slot = range.base.wrapping_add(first);
    let Some((id, backend)) = in_slot(slot) else { return Err(Reason::Inconsistent) };
    Ok(Choice { id, backend, reason, slot, random })
}

/// Moves a slot that was taken to the backend at this position, if that has room.
#[inline(always)]
pub fn move_to(choice: Choice, range: SlotRange, position: u32, limit: u64) -> Choice {
    let slot = range.base.wrapping_add(position);
    match in_slot(slot) {
        Some((id, backend)) if id != choice.id && admission::take_once(&backend.active, limit) => {
            admission::give_back(&choice.backend.active);
            Choice { id, backend, reason: Reason::Affinity, slot, ..choice }
        }
        _ => choice,
    }
}

/// What the search for a backend with room needs to know, and what it found.
struct Search {
    range: SlotRange,
    first: u32,
    found: BackendId,
    slot: u32,
    limit: u64,
    judged: u32,
    healthy: u32,
}

/// What [`spill`] gives when no backend has room.
const ALL_FULL: u64 = 0;

/// What [`spill`] gives when it met no backend that is not ejected.
const ALL_OUT: u64 = 1;

/// Takes a slot on the first backend after `first` that has room and is not ejected: its id, then its slot, 32 bits each.
/// `judged` is the account that ejects, or 0. A function of its own: connect() needs it twice;
/// global, as those in `limits`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn spill(range: u64, first: u32, limit: u64, judged: u32) -> u64 {
    let range = SlotRange::unpack(range);
    let mut search = Search { range, first, found: BackendId(0), slot: 0, limit, judged, healthy: 0 };
    let tries = range.len.saturating_sub(1);
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(tries, try_next as *mut c_void, (&raw mut search).cast(), 0) };
    match search {
        Search { found: BackendId(0), healthy: 0, .. } => ALL_OUT,
        Search { found: BackendId(0), .. } => ALL_FULL,
        Search { found, slot, .. } => u64::from(found.0) << 32 | u64::from(slot),
    }
}

/// One step of the search; 1 ends it. A callback is verified once, whatever the number of slots: a plain loop of some
/// hundred steps exceeds the verifier's million instructions.
extern "C" fn try_next(step: u64, search: *mut c_void) -> i64 {
    // SAFETY: `spill` passes its own `Search`, which nobody else holds.
    let search = unsafe { &mut *search.cast::<Search>() };
    let position = select::next(search.first, (step as u32).wrapping_add(1), search.range.len);
    let slot = search.range.base.wrapping_add(position);
    let Some((id, backend)) = in_slot(slot) else { return 0 };
    if health::is_out(search.judged, backend) {
        return 0;
    }
    search.healthy = 1;
    if admission::take_once(&backend.active, search.limit) {
        search.found = id;
        search.slot = slot;
        return 1;
    }
    0
}
