//! What a connected socket holds: one slot on its Service's account and one on its backend.

use crate::limits;
use crate::maps::{BACKENDS, CONNECTIONS, SERVICES};
use mesh_common::address::{Address, Port};
use mesh_common::admission;
use mesh_common::tables::{BackendId, BackendTag, CONFIRMED, Connection, ServiceId};

const NO_EXIST: u64 = 1;
const ENOENT: i32 = -2;
const EEXIST: i32 = -17;

/// How often a removal that failed is tried.
const TRIES: u32 = 4;

/// Records what the socket holds from now on. A socket that held something else (a connect that failed, a UDP socket
/// that connects anew) gives that back. `false` when the table is full.
#[inline(always)]
pub fn hold(cookie: u64, connection: &Connection) -> bool {
    match CONNECTIONS.insert(cookie, connection, NO_EXIST) {
        Ok(()) => true,
        Err(EEXIST) => {
            release(cookie);
            CONNECTIONS.insert(cookie, connection, NO_EXIST).is_ok()
        }
        Err(_) => false,
    }
}

/// What a socket held.
pub struct Held {
    pub account: ServiceId,
    pub backend: BackendId,
    pub flags: u32,
    pub client: u32,
}

/// Gives back what the socket holds, if it holds anything. Exactly once: only the one whose delete succeeds gives back.
#[inline(always)]
pub fn release(cookie: u64) -> Option<Held> {
    let held = CONNECTIONS.get_ptr(cookie)?;
    // SAFETY: `held` points into a live map. Should another processor delete the element meanwhile, our delete fails
    // and what was read is not used.
    let held = unsafe {
        Held {
            account: core::ptr::read_volatile(&raw const (*held).account),
            backend: core::ptr::read_volatile(&raw const (*held).backend),
            flags: core::ptr::read_volatile(&raw const (*held).flags),
            client: core::ptr::read_volatile(&raw const (*held).client),
        }
    };
    if !remove(cookie) {
        return None;
    }
    give_back(held.account, held.backend, held.client);
    Some(held)
}

/// Whether the entry was there, and is removed now. That may fail for a passing reason, too: since Linux 6.15 the kernel waits
/// 250 ms at most for the lock of an element's bucket, which a processor may hold for longer that its hypervisor has halted.
#[inline(never)]
fn remove(cookie: u64) -> bool {
    for _ in 0..TRIES {
        match CONNECTIONS.remove(cookie) {
            Ok(()) => return true,
            Err(ENOENT) => return false,
            Err(_) => {}
        }
    }
    // The agent looks for the socket later.
    false
}

/// Gives back what the socket holds, if it holds a slot of this account: so that it may take it again.
#[inline(always)]
pub fn release_own(cookie: u64, account: ServiceId) -> bool {
    match CONNECTIONS.get_ptr(cookie) {
        // SAFETY: as in `release`.
        Some(held) if unsafe { core::ptr::read_volatile(&raw const (*held).account) } == account => {
            release(cookie).is_some()
        }
        _ => false,
    }
}

/// Gives back one slot on each, and that of the client whose place plus 1 this is; 0 for none.
#[inline(always)]
pub fn give_back(account: ServiceId, backend: BackendId, client: u32) {
    if client != 0 {
        limits::give_back(client - 1);
    }
    if let Some(service) = SERVICES.get(account.0) {
        admission::give_back(&service.active);
    }
    if let Some(backend) = BACKENDS.get(backend.0) {
        admission::give_back(&backend.active);
    }
}

/// The frontend through which the socket speaks with this peer, if it does. The peer is compared because a socket that
/// failed to connect keeps its entry until it connects again or closes.
#[inline(always)]
pub fn frontend_of(cookie: u64, peer: &Address, port: Port) -> Option<(Address, Port)> {
    // SAFETY: only this socket's own calls change its entry, and one of them is running.
    let held = unsafe { CONNECTIONS.get(cookie) }?;
    let backend = BACKENDS.get(held.backend.0)?;
    if backend.address != *peer || BackendTag::port_of(backend.tag.load()) != port {
        return None;
    }
    Some((held.frontend.address, held.frontend.port))
}

/// The kernel is about to send the SYN: the connect did not fail on this host. The entry's flags; 0 when the socket holds
/// nothing, or goes elsewhere than to what it holds; then that is given back.
#[inline(always)]
pub fn confirm(cookie: u64, peer: &Address, port: Port) -> u32 {
    let Some(held) = CONNECTIONS.get_ptr_mut(cookie) else { return 0 };
    // SAFETY: only this socket's own calls change its entry, and one of them is running, under the socket's lock.
    let held = unsafe { &mut *held };
    match BACKENDS.get(held.backend.0) {
        Some(backend) if backend.address == *peer && BackendTag::port_of(backend.tag.load()) == port => {
            held.flags |= CONFIRMED;
            held.flags
        }
        _ => {
            release(cookie);
            0
        }
    }
}
