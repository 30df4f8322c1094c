//! Session affinity: a client goes on with the backend that it had (`sessionAffinity: ClientIP`).
//!
//! The client is the network namespace: a pod, or all that runs in the host's network. What `AFFINITY` says is a wish: it
//! is followed when the backend is in the service's slots now and has the address and port of then. So an endpoint that
//! is gone, or that takes no new connections, or whose id another endpoint has by now, is never kept.
//!
//! Races. Two first connections of one client at once: whoever inserts first decides, and the other goes along. After
//! the time has run out, the same but for the instant between the last look and the insert: one connection may then stay
//! with another backend than all later ones. An element may be evicted, and be another client's, while this program holds
//! it: what is read then fails the comparison, or is a backend of this service that another client keeps to. Of the two
//! words that are stored in place the time is then what it would be had that other client connected, and a place that is
//! not its backend's fails that client's comparison: it is balanced anew. Nothing leads out of the service's slots or past
//! a limit.

use crate::choice::{self, Choice};
use crate::maps::{AFFINITY, BACKENDS, SLOTS};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_loop};
use core::ffi::c_void;
use mesh_common::tables::{Affinity, AffinityKey, BackendId, BackendTag, Pin, Service, ServiceId, SlotRange};

const ANY: u64 = 0;
const NO_EXIST: u64 = 1;
const EEXIST: i32 = -17;

/// A client of a service that has affinity.
pub struct Client {
    key: AffinityKey,
    timeout: u64,
    now: u64,
}

/// The client, if the service has affinity. A load and a branch for one that has not.
#[inline(always)]
pub fn client(service: &Service, id: ServiceId, netns: impl FnOnce() -> u64) -> Option<Client> {
    let timeout = service.affinity_timeout.load();
    if timeout == 0 {
        return None;
    }
    let key = AffinityKey { netns: netns(), service: id, _pad: 0 };
    // SAFETY: a helper without arguments.
    Some(Client { key, timeout, now: unsafe { bpf_ktime_get_coarse_ns() } })
}

impl Client {
    /// The position of the backend that the client keeps to, if it has one that takes new connections. Being asked is
    /// coming back: the time begins anew, whether or not the backend then has room.
    #[inline(always)]
    pub fn kept(&self, range: SlotRange) -> Option<u32> {
        some(kept(self, range.pack()))
    }

    /// Remembers what was chosen for a client that had nothing to keep. `Some` when another connection of the client was
    /// first: the position of what that one chose.
    #[inline(always)]
    pub fn remember(&self, choice: &Choice, range: SlotRange) -> Option<u32> {
        match self.kept(range) {
            None if insert(self, choice.id.0, choice.slot) == EEXIST => self.kept(range),
            position => position,
        }
    }

    fn position_kept(&self, range: SlotRange) -> Option<u32> {
        let known = AFFINITY.get_ptr_mut(self.key)?;
        // SAFETY: `known` points into a live map, whosever the element is by now; what is read is compared with the arrays
        // below, and what is stored are aligned words.
        let (last_used, pin) = unsafe { (&mut (*known).last_used, &mut (*known).pin) };
        let used = read(last_used);
        if !Affinity::is_alive(used, self.now, self.timeout) {
            return None;
        }
        let Pin { backend: id, slot } = Pin::unpack(read(pin));
        let backend = BACKENDS.get(id.0)?;
        // SAFETY: as above.
        let (address, port) = unsafe { (&(*known).address, (*known).port) };
        if backend.address != *address || BackendTag::port_of(backend.tag.load()) != port {
            return None;
        }
        let slot = match Affinity::position_in(range, slot) {
            Some(_) if SLOTS.get(slot).is_some_and(|there| *there == id.0) => slot,
            // The slots were written anew: it is looked for once, and its place remembered.
            _ => {
                let slot = find(range, id)?;
                write(pin, Pin { backend: id, slot }.pack());
                slot
            }
        };
        // The clock moves in steps of milliseconds: connections within one share the cache line without a store.
        if used != self.now {
            write(last_used, self.now);
        }
        Affinity::position_in(range, slot)
    }

    fn insert(&self, backend: BackendId, slot: u32) -> Result<(), i32> {
        let Some(chosen) = BACKENDS.get(backend.0) else { return Ok(()) };
        let affinity = Affinity {
            last_used: self.now,
            pin: Pin { backend, slot }.pack(),
            address: chosen.address,
            port: BackendTag::port_of(chosen.tag.load()),
            _pad: [0; 3],
        };
        // What has run out is replaced; where nothing is, the first wins. An LRU table takes every insert but for a passing
        // failure to evict; then the next connection is balanced anew.
        let flags = if AFFINITY.get_ptr(self.key).is_some() { ANY } else { NO_EXIST };
        AFFINITY.insert(self.key, affinity, flags)
    }
}

// Functions of their own: inlined wherever they are needed they make the programs half as large again, which every
// connection pays for. Their arguments and results are scalars: a `Choice` that is passed by reference is built in memory
// byte by byte, its pointer too, which the verifier refuses ("invalid size of register spill"). None calls another that
// needs much of the stack: all frames together have 512 bytes.

/// [`Client::kept`]; [`NOWHERE`] for none.
#[inline(never)]
fn kept(client: &Client, range: u64) -> u32 {
    client.position_kept(SlotRange::unpack(range)).unwrap_or(NOWHERE)
}

/// Puts in what was chosen, unless another connection of the client was first: 0, or the error.
#[inline(never)]
fn insert(client: &Client, backend: u32, slot: u32) -> i32 {
    client.insert(BackendId(backend), slot).err().unwrap_or_default()
}

const NOWHERE: u32 = u32::MAX;

#[inline(always)]
fn some(position: u32) -> Option<u32> {
    if position == NOWHERE { None } else { Some(position) }
}

#[inline(always)]
fn read(word: &u64) -> u64 {
    // SAFETY: an aligned 8-byte load.
    unsafe { core::ptr::read_volatile(word) }
}

#[inline(always)]
fn write(word: &mut u64, value: u64) {
    // SAFETY: an aligned 8-byte store.
    unsafe { core::ptr::write_volatile(word, value) };
}

/// What the search for a backend's slot needs to know, and what it found.
struct Search {
    base: u32,
    wanted: BackendId,
    found: u32,
}

/// The first slot of the range that says this backend.
#[inline(always)]
fn find(range: SlotRange, wanted: BackendId) -> Option<u32> {
    let mut search = Search { base: range.base, wanted, found: NOWHERE };
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(range.len, look as *mut c_void, (&raw mut search).cast(), 0) };
    some(search.found)
}

/// One step of the search; 1 ends it.
extern "C" fn look(step: u64, search: *mut c_void) -> i64 {
    // SAFETY: `find` passes its own `Search`, which nobody else holds.
    let search = unsafe { &mut *search.cast::<Search>() };
    let slot = search.base.wrapping_add(step as u32);
    match choice::in_slot(slot) {
        Some((id, _)) if id == search.wanted => {
            search.found = slot;
            1
        }
        _ => 0,
    }
}
