//! Backends that fail are ejected: what became of a connection is judged here, and a pick asks here who is out.
//!
//! Only connections of Services that ask for it are watched. TCP tells: the SYN is unanswered (the retransmission timer
//! fires), the connect fails, the handshake is done, what is sent stays unacknowledged, or the connection is reset; and
//! `answer` when the answers are slow. A socket that its client closes has left `CONNECTIONS` by then, so what ends here
//! while it is there was ended by the peer or the network.

use crate::answer;
use crate::choice::in_slot;
use crate::context::{SockOps, Socket};
use crate::event;
use crate::maps::{BACKENDS, CONNECTIONS, OUTLIERS, SERVICES};
use aya_ebpf::bindings::{BPF_TCP_CLOSE_WAIT, BPF_TCP_ESTABLISHED, BPF_TCP_FIN_WAIT1, BPF_TCP_SYN_SENT};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_loop};
use core::ffi::c_void;
use mesh_common::outlier::{self, Outcome, Recorded, SOON};
use mesh_common::tables::{
    Backend, BackendId, BackendTag, Connection, ESTABLISHED, FAILED, Rule, ServiceId, SlotRange,
};

/// The clock of `OUTLIERS`.
#[inline(always)]
fn milliseconds(nanoseconds: u64) -> u64 {
    nanoseconds / 1_000_000
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The account whose backends are judged, by the word of a port's rule; 0 where none are.
#[inline(always)]
pub fn judged(rule: u64) -> u32 {
    if Rule::has_outlier(rule) { Rule::account_of(rule).0 } else { 0 }
}

/// Whether a backend is ejected now. `account` is 0 where nobody asks for that.
#[inline(always)]
pub fn is_out(account: u32, backend: &Backend) -> bool {
    // A word that says nothing is what nearly all are; the clock is not read for it.
    if account == 0 || backend.standing.load() == 0 {
        return false;
    }
    let Some(outlier) = OUTLIERS.get(account) else { return false };
    outlier::is_out(&backend.standing, outlier, milliseconds(now()))
}

/// The retransmission timer fires: the SYN was not answered in time, or what was sent later not acknowledged. One lost packet
/// is no failure, a second time in a row is, once until something is acknowledged again.
#[inline(always)]
pub fn unacknowledged(socket: &SockOps) {
    if socket.state() == BPF_TCP_SYN_SENT {
        connect_failed(socket);
    } else if socket.retransmissions() == 1
        && let Some(held) = watched(socket)
    {
        held.flags |= FAILED;
        failed(held, Outcome::Silent);
    }
}

/// The handshake is done.
#[inline(always)]
pub fn connected(socket: &SockOps) {
    let Some(held) = watched(socket) else { return };
    // That its SYN was sent twice is counted, and over.
    held.flags = held.flags & !FAILED | ESTABLISHED;
    succeeded(held.account, held.backend, Outcome::Connected);
    answer::wait(socket, held);
}

/// The connection is over, before its socket was closed.
#[inline(always)]
pub fn ended(socket: &SockOps) {
    match socket.old_state() {
        BPF_TCP_SYN_SENT => connect_failed(socket),
        BPF_TCP_ESTABLISHED | BPF_TCP_CLOSE_WAIT | BPF_TCP_FIN_WAIT1 => {
            let Some(held) = watched(socket) else { return };
            let is_soon = now().saturating_sub(held.opened_at) < SOON;
            if is_soon && socket.bytes_received() == 0 {
                failed(held, Outcome::Reset);
            } else {
                closed(held.account, held.backend, held.flags);
            }
        }
        _ => {
            let Some(held) = watched(socket) else { return };
            closed(held.account, held.backend, held.flags);
        }
    }
}

/// The connection was closed, by a client that was content with the backend as far as anybody knows. One that had gone silent
/// says nothing for its backend.
#[inline(always)]
pub fn closed(account: ServiceId, backend: BackendId, flags: u32) {
    if flags & (ESTABLISHED | FAILED) == ESTABLISHED {
        succeeded(account, backend, Outcome::Ended);
    }
}

/// What the socket holds. Only its own callbacks change it, under its lock, and one of them is running.
#[inline(always)]
pub fn watched(socket: &SockOps) -> Option<&'static mut Connection> {
    let held = CONNECTIONS.get_ptr_mut(socket.cookie())?;
    // SAFETY: `held` points into a live map; see above.
    Some(unsafe { &mut *held })
}

/// Counts a connect that failed, once.
#[inline(always)]
fn connect_failed(socket: &SockOps) {
    let Some(held) = watched(socket) else { return };
    if held.flags & FAILED == 0 {
        held.flags |= FAILED;
        failed(held, Outcome::ConnectFailed);
    }
}

#[inline(always)]
fn succeeded(account: ServiceId, backend: BackendId, success: Outcome) {
    record(account.0, backend.0, success as u32);
}

/// Judges a backend: [`Recorded`] as a number. A function of its own, of scalars: inlined wherever it is needed it makes the
/// programs many times as large.
#[inline(never)]
fn record(account: u32, backend: u32, outcome: u32) -> u32 {
    let (Some(outlier), Some(backend)) = (OUTLIERS.get(account), BACKENDS.get(backend)) else { return 0 };
    outlier::record(&backend.standing, outlier, Outcome::from_number(outcome), milliseconds(now())) as u32
}

/// Counts a failure, and ejects the backend when it is one too many.
#[inline(always)]
pub fn failed(held: &Connection, failure: Outcome) {
    // One whose endpoint is gone takes nothing anyway.
    let Some(backend) = BACKENDS.get(held.backend.0) else { return };
    if !BackendTag::is_serving(backend.tag.load()) {
        return;
    }
    let mut recorded = record(held.account.0, held.backend.0, failure as u32);
    if recorded == Recorded::Crowded as u32 {
        // Some may be counted whose time is over and whom no pick has met since.
        sweep(held.account, held.service);
        recorded = record(held.account.0, held.backend.0, failure as u32);
    }
    if recorded == Recorded::Ejected as u32 {
        event::ejected(held, backend);
    }
}

/// Brings back the backends of a port whose time is over.
#[inline(always)]
fn sweep(account: ServiceId, service: ServiceId) {
    let Some(service) = SERVICES.get(service.0) else { return };
    let range = SlotRange::unpack(service.slots.load());
    let mut search = Sweep { account: account.0, base: range.base };
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(range.len, meet as *mut c_void, (&raw mut search).cast(), 0) };
}

struct Sweep {
    account: u32,
    base: u32,
}

/// One step of the sweep.
extern "C" fn meet(step: u64, sweep: *mut c_void) -> i64 {
    // SAFETY: `sweep` passes its own `Sweep`, which nobody else holds.
    let sweep = unsafe { &*sweep.cast::<Sweep>() };
    if let Some((_, backend)) = in_slot(sweep.base.wrapping_add(step as u32)) {
        is_out(sweep.account, backend);
    }
    0
}
