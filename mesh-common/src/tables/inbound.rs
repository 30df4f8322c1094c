//! Connections that arrive at backends on this node, from wherever, and how many each backend may have.

use crate::address::{Address, Port};
use crate::atomic::Atomic64;
use crate::packet::Segment;
use crate::tables::UNLIMITED;

/// Index of an [`Inbound`] in `INBOUND`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InboundId(pub u32);

/// Value of `INBOUND`: a backend on this node, an address and a TCP port, whose connections are counted. 64 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Inbound {
    /// Connections that are open: as many as `INBOUND_CONNECTIONS` has of it. Written by: programs; agent, with entries.
    pub active: Atomic64,
    /// Most of them at once; [`UNLIMITED`] for none. Written by: agent.
    pub limit: Atomic64,
    /// The id of the pod's network namespace as the node's own numbers it (`ip netns list-id`). Written by: agent.
    pub netns: Atomic64,
    /// Connections that were opened. Written by: programs.
    pub opened: Atomic64,
    /// SYNs that were refused. Written by: programs.
    pub refused: Atomic64,
    /// Handshakes that ended too late and were reset. Written by: programs.
    pub reset: Atomic64,
    /// In mode Observe: most connections at once, what goes beyond is counted and passes; [`UNLIMITED`] for none. Written
    /// by: agent.
    pub observed_limit: Atomic64,
    /// SYNs that would have been refused but for mode Observe. Written by: programs.
    pub observed: Atomic64,
}

const _: () = assert!(size_of::<Inbound>() == 64);

impl Inbound {
    /// An entry that counts and limits nothing.
    pub const fn new() -> Self {
        Self {
            active: Atomic64::new(0),
            limit: Atomic64::new(UNLIMITED),
            netns: Atomic64::new(0),
            opened: Atomic64::new(0),
            refused: Atomic64::new(0),
            reset: Atomic64::new(0),
            observed_limit: Atomic64::new(UNLIMITED),
            observed: Atomic64::new(0),
        }
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self::new()
    }
}

/// No network namespace has this id: a pod that is not there has no sockets.
pub const NO_NETNS: u64 = 0x7fff_ffff;

/// Whose record an entry of `INBOUND_CONNECTIONS` is.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The connection: it holds a slot.
    Whole = 0,
    /// The client has sent its FIN.
    Client = 1,
    /// The backend has sent its FIN.
    Backend = 2,
}

/// Key of `INBOUND_CONNECTIONS`: a connection, as the backend's node sees it. 40 bytes.
///
/// A record of [`Side::Whole`] stands for exactly one slot of its backend. Whoever deletes it gives the slot back; a
/// delete succeeds once, so a slot is given back once.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InboundKey {
    /// Who opened it.
    pub client: Address,
    /// Whom it was opened to.
    pub backend: Address,
    /// The client's port.
    pub client_port: Port,
    /// The backend's port.
    pub backend_port: Port,
    /// [`Side`].
    pub side: u32,
}

const _: () = assert!(size_of::<InboundKey>() == 40 && align_of::<InboundKey>() == 4);

impl InboundKey {
    /// Its bytes, as maps have it.
    pub const fn bytes(&self) -> [u8; size_of::<Self>()] {
        // SAFETY: no padding, any bytes of plain integers.
        unsafe { core::mem::transmute(*self) }
    }

    /// The key of these bytes.
    #[inline(always)]
    pub const fn from_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        // SAFETY: no padding, any bits of plain integers.
        unsafe { core::mem::transmute(*bytes) }
    }

    /// Whether its record holds a slot.
    pub const fn is_whole(&self) -> bool {
        self.side == Side::Whole as u32
    }

    /// The same connection's record of another side.
    #[must_use]
    #[inline(always)]
    pub const fn of(self, side: Side) -> Self {
        Self { side: side as u32, ..self }
    }

    /// The connection of a segment that is on its way to the backend.
    #[inline(always)]
    pub const fn arriving(segment: &Segment) -> Self {
        Self {
            client: segment.source,
            backend: segment.destination,
            client_port: segment.source_port,
            backend_port: segment.destination_port,
            side: Side::Whole as u32,
        }
    }

    /// The connection of a segment that comes from the backend.
    #[inline(always)]
    pub const fn leaving(segment: &Segment) -> Self {
        Self {
            client: segment.destination,
            backend: segment.source,
            client_port: segment.destination_port,
            backend_port: segment.source_port,
            side: Side::Whole as u32,
        }
    }
}

/// Value of `INBOUND_CONNECTIONS`: when the slot was taken, nanoseconds of the monotonic clock, with [`HAS_SOCKET`] for its last
/// bit; [`PENDING`] while it is being taken; anything for a FIN.
pub type InboundState = u64;

/// Its slot is being taken by another processor at this moment.
pub const PENDING: InboundState = 0;
/// A socket of the pod's was seen: when none is there any more, the connection has ended.
pub const HAS_SOCKET: InboundState = 1;

/// The state of a connection that takes its slot at this time.
#[inline(always)]
pub const fn taken_at(now: u64, has_socket: bool) -> InboundState {
    (now | HAS_SOCKET) - !has_socket as u64
}

/// Value of `HANDSHAKES`: what the client acknowledges with the segment that ends the handshake, host order.
pub type Expected = u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_never_pending_and_its_last_bit_tells_of_the_socket() {
        for now in [2, 3, 1 << 40, u64::MAX - 1, u64::MAX] {
            for has_socket in [false, true] {
                let state = taken_at(now, has_socket);
                assert_eq!(state & HAS_SOCKET != 0, has_socket);
                assert!(state != PENDING && state.abs_diff(now) <= 1);
            }
        }
    }

    #[test]
    fn a_key_is_its_bytes() {
        let bytes = core::array::from_fn(|i| i as u8);
        assert_eq!(InboundKey::from_bytes(&bytes).bytes(), bytes);
        assert_eq!(InboundKey::from_bytes(&bytes).of(Side::Backend).side, 2);
    }
}
