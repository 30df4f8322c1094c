//! Limits on the connections that arrive at a backend, from wherever, at the interface of its pod.
//!
//! A slot is taken by the segment that completes the handshake, so that SYNs alone take nothing, and is given back by RST
//! or by the second side's FIN. Which segment that is tells the SYN-ACK that the pod sent, or else the pod's own socket.

use crate::maps::{FRONTENDS, HANDSHAKES, INBOUND, INBOUND_BACKENDS, INBOUND_CONNECTIONS, PACKET_COUNTS};
use crate::packet::{Socket, SocketBuffer};
use crate::refusal;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use mesh_common::address::Protocol;
use mesh_common::admission;
use mesh_common::packet::{Bytes, Flags, PacketReason, Segment, Towards, Word};
use mesh_common::tables::{FrontendKey, HAS_SOCKET, Inbound, InboundKey, PENDING, Side, taken_at};
use network_types::eth::EthHdr;

/// The chain goes on (`TC_ACT_UNSPEC`, `TCX_NEXT`).
pub const PASS: i32 = -1;
/// `TC_ACT_SHOT`.
const DROP: i32 = 2;

/// What [`recount`] answers: the record stays as it is.
const STAYS: i32 = 0;
/// What [`recount`] answers: the connection had ended, and its slot was given back.
const GIVEN_BACK: i32 = 1;

/// A slot is not looked at by a recount before this many nanoseconds (2 s): the pod's kernel makes the socket of a connection
/// only after the segment that takes the slot.
const YOUNG: u64 = 2_000_000_000;

/// How often it is noted that a connection without a socket goes on, nanoseconds (1 s).
const NOTED: u64 = 1_000_000_000;

/// A connection of which no socket was ever seen has ended when it says nothing for so many nanoseconds (10 min).
const SILENT: u64 = 600_000_000_000;

/// The most that a pod sends before the handshake has ended, bytes (1 MiB).
const EARLY: u32 = 1 << 20;

const NO_EXIST: u64 = 1;
const EXIST: u64 = 2;
const EEXIST: i32 = -17;

/// States of sockets (include/net/tcp_states.h).
const ESTABLISHED: u32 = 1;
const SYN_RECV: u32 = 3;
const TIME_WAIT: u32 = 6;
const CLOSE: u32 = 7;
const CLOSE_WAIT: u32 = 8;
const LISTEN: u32 = 10;
const NEW_SYN_RECV: u32 = 12;

/// A packet that is dropped, and counted.
#[inline(always)]
pub fn drop(reason: PacketReason) -> i32 {
    count(reason);
    DROP
}

#[inline(always)]
fn count(reason: PacketReason) {
    if let Some(counter) = PACKET_COUNTS.get(reason as u32) {
        counter.fetch_add(1);
    }
}

/// A segment on its way to the pod.
#[inline(always)]
pub fn arriving(packet: &SocketBuffer, segment: &Segment) -> i32 {
    let key = InboundKey::arriving(segment);
    // SAFETY: read at once; should the element become another's meanwhile, a segment is dropped and sent again.
    match unsafe { INBOUND_CONNECTIONS.get(key) }.copied() {
        Some(PENDING) => DROP,
        Some(_) if segment.flags.any(Flags::RST) => {
            if is_taken(packet, segment, &key) {
                end(&key);
            }
            PASS
        }
        Some(state) => {
            if segment.flags.any(Flags::FIN) {
                finish(&key, Side::Client);
            } else if state & HAS_SOCKET == 0 {
                goes_on(&key, state);
            }
            PASS
        }
        None => unknown(packet, segment, &key),
    }
}

/// A connection without a socket that this kernel sees says something: once a second that is noted.
#[inline(always)]
fn goes_on(key: &InboundKey, state: u64) {
    // SAFETY: a plain helper.
    let now = unsafe { bpf_ktime_get_ns() };
    if now.saturating_sub(state) > NOTED {
        let _ = INBOUND_CONNECTIONS.insert(key, taken_at(now, false), EXIST);
    }
}

/// Whether the pod's kernel will take a RST for the end of the connection: only with exactly the sequence number that it waits for
/// (RFC 5961, 3.2). Else anybody could give back slots of connections that go on.
#[inline(always)]
fn is_taken(packet: &SocketBuffer, segment: &Segment, key: &InboundKey) -> bool {
    let Some(backend) = backend(key) else { return true };
    match packet.socket(key, backend.netns.load()) {
        Some(Socket { state, next: Some(next) }) if state != LISTEN => segment.sequence == next,
        _ => true,
    }
}

/// A segment that the pod sends.
#[inline(always)]
pub fn leaving(segment: &Segment) -> i32 {
    if segment.flags.opens() {
        return if is_frontend(segment) { drop(PacketReason::SpoofedFrontend) } else { PASS };
    }
    if segment.flags.any(Flags::SYN | Flags::FIN | Flags::RST) {
        let key = InboundKey::leaving(segment);
        if segment.flags.any(Flags::SYN) {
            if backend(&key).is_some() {
                // Where there is no room the pod's socket is asked later.
                let _ = HANDSHAKES.insert(key, segment.sequence.wrapping_add(1), 0);
            }
        } else if INBOUND_CONNECTIONS.get_ptr(key).is_none() {
            return PASS;
        } else if segment.flags.any(Flags::RST) {
            end(&key);
        } else {
            finish(&key, Side::Backend);
        }
    }
    PASS
}

/// No host speaks as a Service: its address and port are the destination of what clients send, never a source.
#[inline(always)]
fn is_frontend(segment: &Segment) -> bool {
    FRONTENDS.get_ptr(FrontendKey::new(segment.source, segment.source_port, Protocol::Tcp)).is_some()
}

/// A side has sent its FIN. Each side writes its own record before it looks for the other's, so that of two at the same
/// time at least one sees both.
#[inline(always)]
fn finish(key: &InboundKey, side: Side) {
    let other = if matches!(side, Side::Client) { Side::Backend } else { Side::Client };
    // A full table leaves the connection to the recount.
    let _ = INBOUND_CONNECTIONS.insert(key.of(side), PENDING, 0);
    if INBOUND_CONNECTIONS.get_ptr(key.of(other)).is_some() {
        end(key);
    }
}

/// The connection has ended. Exactly once: only the one whose delete succeeds gives the slot back.
#[inline(always)]
fn end(key: &InboundKey) -> bool {
    if INBOUND_CONNECTIONS.remove(key).is_err() {
        return false;
    }
    forget_sides(key);
    if let Some(backend) = backend(key) {
        admission::give_back(&backend.active);
    }
    true
}

#[inline(always)]
fn forget_sides(key: &InboundKey) {
    let _ = INBOUND_CONNECTIONS.remove(key.of(Side::Client));
    let _ = INBOUND_CONNECTIONS.remove(key.of(Side::Backend));
}

#[inline(always)]
fn backend(key: &InboundKey) -> Option<&'static Inbound> {
    let at = FrontendKey::new(key.backend, key.backend_port, Protocol::Tcp);
    // SAFETY: an element's id never changes while it lives, and an id is not used again before a grace period has passed.
    let id = *unsafe { INBOUND_BACKENDS.get(at) }?;
    INBOUND.get(id.0)
}

/// A segment of a connection that holds no slot.
#[inline(always)]
fn unknown(packet: &SocketBuffer, segment: &Segment, key: &InboundKey) -> i32 {
    let Some(backend) = backend(key) else { return PASS };
    if segment.flags.any(Flags::RST) {
        return PASS;
    }
    if is_frontend(segment) {
        return drop(PacketReason::SpoofedFrontend);
    }
    if segment.flags.opens() {
        return open(packet, segment, backend);
    }
    if segment.flags.any(Flags::SYN) {
        // The answer to a SYN of the pod's own.
        return PASS;
    }
    // SAFETY: read at once; should the element become another's meanwhile, the segment is dropped, and comes again.
    let expected = unsafe { HANDSHAKES.get(key) }.copied();
    let ahead = expected.map(|expected| segment.acknowledgement.wrapping_sub(expected));
    let ends_handshake = ahead == Some(0);
    let state = packet.socket(key, backend.netns.load()).map(|socket| socket.state);
    let (is_there, has_socket) = match state {
        // A connection that was there before it was counted goes on, and counts.
        Some(ESTABLISHED | CLOSE_WAIT) => (true, true),
        Some(NEW_SYN_RECV) if ends_handshake => (false, true),
        // With TCP Fast Open the pod may have sent data before, which is acknowledged, too.
        Some(SYN_RECV) if ahead.is_some_and(|ahead| ahead < EARLY) => (false, true),
        // A guess; or what ends the handshake is forgotten, in a flood: the pod sends its SYN-ACK again, which tells.
        Some(SYN_RECV | NEW_SYN_RECV) => return DROP,
        // A listener has no record of handshakes with cookies. It answers anything else with a RST.
        Some(LISTEN) if ends_handshake || packet.answers_cookie(segment, key, backend.netns.load()) => (false, false),
        // The socket is in the pod, and not this kernel's.
        None if ends_handshake => (false, false),
        // The last segments of a connection that has given its slot back, or no connection's.
        _ => return PASS,
    };
    match take(segment, key, backend, is_there, has_socket) {
        Ok(()) => PASS,
        Err(None) => DROP,
        Err(Some(reason)) => reset(packet, segment, backend, reason),
    }
}

/// A SYN.
#[inline(always)]
fn open(packet: &SocketBuffer, segment: &Segment, backend: &Inbound) -> i32 {
    let active = backend.active.load();
    if active < backend.limit.load() {
        if active >= backend.observed_limit.load() {
            backend.observed.fetch_add(1);
            count(PacketReason::ObservedInboundLimit);
        }
        return PASS;
    }
    backend.refused.fetch_add(1);
    count(PacketReason::InboundLimit);
    match refusal::rewrite(packet, segment, Towards::Sender) {
        Ok(()) => packet.turn_back(),
        Err(_) => DROP,
    }
}

/// Takes a slot for the connection: one that was established before (`is_there`) is not refused. The record comes first: a
/// second segment of the same connection, on another processor, is dropped (`Err(None)`) until the first is decided, and comes
/// again.
#[inline(always)]
fn take(
    segment: &Segment,
    key: &InboundKey,
    backend: &Inbound,
    is_there: bool,
    has_socket: bool,
) -> Result<(), Option<PacketReason>> {
    match INBOUND_CONNECTIONS.insert(key, PENDING, NO_EXIST) {
        Ok(()) => {}
        Err(EEXIST) => return Err(None),
        Err(_) => return Err(Some(PacketReason::InboundTableFull)),
    }
    // What an earlier connection between the same ends may have left.
    forget_sides(key);
    let _ = HANDSHAKES.remove(key);
    if is_there {
        backend.active.fetch_add(1);
    } else if admission::take(&backend.active, backend.limit.load()).is_err() {
        if INBOUND_CONNECTIONS.remove(key).is_err() {
            // It ended meanwhile, and whoever ended it gave back what was not taken.
            backend.active.fetch_add(1);
        }
        return Err(Some(PacketReason::InboundRace));
    }
    backend.opened.fetch_add(1);
    // SAFETY: a plain helper.
    let state = taken_at(unsafe { bpf_ktime_get_ns() }, has_socket);
    if INBOUND_CONNECTIONS.insert(key, state, EXIST).is_err() {
        // Either it ended meanwhile, and its slot has been given back; or there is no memory for the moment, and the segment comes
        // again: a record must not stay pending.
        return if end(key) { Err(None) } else { Ok(()) };
    }
    if segment.flags.any(Flags::FIN) {
        finish(key, Side::Client);
    }
    Ok(())
}

/// Ends the connection at both ends: the client is established already, the pod is not yet.
#[inline(always)]
fn reset(packet: &SocketBuffer, segment: &Segment, backend: &Inbound, reason: PacketReason) -> i32 {
    backend.reset.fetch_add(1);
    count(reason);
    let back = refusal::rewrite(packet, segment, Towards::Sender).and_then(|()| packet.turn_copy_back());
    match back.and_then(|()| refusal::rewrite(packet, segment, Towards::Receiver)) {
        Ok(()) => PASS,
        Err(_) => DROP,
    }
}

/// The agent asks about one record, its key behind an Ethernet header: whether its connection is still there.
#[inline(always)]
pub fn recount(packet: &SocketBuffer) -> i32 {
    let Some(Word(bytes)) = packet.read::<[u8; size_of::<InboundKey>()]>(EthHdr::LEN) else { return STAYS };
    let key = InboundKey::from_bytes(&bytes);
    if key.side != Side::Whole as u32 {
        let is_left = INBOUND_CONNECTIONS.get_ptr(key.of(Side::Whole)).is_none();
        if is_left {
            let _ = INBOUND_CONNECTIONS.remove(key);
        }
        return STAYS;
    }
    // SAFETY: read at once; should the element become another's meanwhile, what is read of it is a time, too.
    let Some(&state) = (unsafe { INBOUND_CONNECTIONS.get(key) }) else { return STAYS };
    // SAFETY: a plain helper.
    let now = unsafe { bpf_ktime_get_ns() };
    let age = now.saturating_sub(state);
    if state == PENDING || age < YOUNG {
        return STAYS;
    }
    let Some(backend) = backend(&key) else { return if end(&key) { GIVEN_BACK } else { STAYS } };
    match packet.socket(&key, backend.netns.load()).map(|socket| socket.state) {
        None | Some(LISTEN | TIME_WAIT | CLOSE) => {
            if (state & HAS_SOCKET != 0 || age > SILENT) && end(&key) {
                return GIVEN_BACK;
            }
        }
        Some(_) => {
            if state & HAS_SOCKET == 0 {
                let _ = INBOUND_CONNECTIONS.insert(key, state | HAS_SOCKET, EXIST);
            }
        }
    }
    STAYS
}
