//! How long a backend takes to the first byte of its answer, where its Service asks for that.
//!
//! No callback tells when bytes come. But the first of a connection are acknowledged at once, so the kernel is asked to
//! call for each packet that the socket sends (as for a TCP option of ours, of which no byte is added), until one goes out
//! after something was received. The time runs from the handshake, or from the last packet that was sent before: a client
//! that connects long before it asks, or that asks at length, is not its backend's fault.

use crate::context::SockOps;
use crate::health;
use crate::maps::{BACKENDS, OUTLIERS, TRAFFIC};
use aya_ebpf::bindings::BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use mesh_common::answer;
use mesh_common::outlier::Outcome;
use mesh_common::tables::{Connection, Thresholds};

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The handshake is done: the first answer is waited for, if the Service asks for that.
#[inline(always)]
pub fn wait(socket: &SockOps, held: &mut Connection) {
    let Some(outlier) = OUTLIERS.get(held.account.0) else { return };
    if Thresholds::unpack(outlier.thresholds.load()).slow.percent == 0 {
        return;
    }
    held.flags = Connection::asked(held.flags, now());
    socket.call_back_on(socket.call_backs() | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/// The socket sends a packet, while its first answer is waited for.
#[inline(always)]
pub fn sending(socket: &SockOps) {
    let is_answered = socket.bytes_received() > 0;
    if is_answered {
        socket.call_back_on(socket.call_backs() & !BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
    } else if socket.payload() == 0 {
        return;
    }
    let Some(held) = health::watched(socket) else { return };
    let now = now();
    if !is_answered {
        held.flags = Connection::asked(held.flags, now);
        return;
    }
    let waited = Connection::waited(held.flags, now);
    if is_slow(held.account.0, held.backend.0, waited) != 0 {
        health::failed(held, Outcome::Slow);
    }
}

/// Notes an answer; 1 when it makes the backend slower than the others. A function of its own, of scalars, as in `health`.
#[inline(never)]
fn is_slow(account: u32, backend: u32, waited: u64) -> u32 {
    let (Some(outlier), Some(traffic)) = (OUTLIERS.get(account), TRAFFIC.get(account)) else { return 0 };
    let Some(backend) = BACKENDS.get(backend) else { return 0 };
    let rule = Thresholds::unpack(outlier.thresholds.load()).slow;
    let is_slow = answer::is_slow(&backend.answer, &traffic.answer, rule, waited);
    if is_slow {
        // What is known is told now. When it comes back, or while too many are out, as many answers count anew.
        answer::forget(&backend.answer);
    }
    u32::from(is_slow)
}
