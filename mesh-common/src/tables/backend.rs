//! An endpoint address and port of one Service.

use crate::address::{Address, Port, Protocol};
use crate::atomic::Atomic64;
use crate::tables::ServiceId;

/// Index into `BACKENDS`. 0 is never given out, so that a zeroed slot is no backend.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct BackendId(pub u32);

/// Whether a backend may go on serving what it serves. Which backends take new connections is decided by the slots.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BackendState {
    /// No backend has this id.
    Free = 0,
    /// It serves: flows that it has go on.
    Serving = 1,
    /// Its endpoint is gone: flows pick anew; open connections are counted until they end.
    Gone = 2,
}

/// Value of `BACKENDS`: one cache line (64 bytes).
#[repr(C)]
#[derive(Debug)]
pub struct Backend {
    /// The endpoint's address. Never changes while the id is in use. Written by: agent.
    pub address: Address,
    /// [`BackendTag`], packed: port, protocol, state, account. Written by: agent, in one store.
    pub tag: Atomic64,
    /// Connections open now. Written by: programs; agent's audit.
    pub active: Atomic64,
    /// Its weight against the Service's other backends, below 2^32; 0 counts as 1. Written by: agent.
    pub weight: Atomic64,
    /// When it began to serve (for its slow start) or, once it is gone, when it went; ns, monotonic. Written by: agent.
    pub since: Atomic64,
    /// [`crate::outlier::Standing`], packed: whether it is ejected. Written by: programs; agent where nothing refers to it.
    pub standing: Atomic64,
    /// The lower quartile of its times to the first answer, nanoseconds, where [`super::SlowRule`] asks for it; 0 for unknown.
    /// Written by: programs; agent where nothing refers to it.
    pub answer: Atomic64,
}

const _: () = assert!(size_of::<Backend>() == 64);

/// What a backend is besides its address, packed into one word so that it changes in one store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BackendTag {
    /// The endpoint's port.
    pub port: Port,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Whether it may go on serving.
    pub state: BackendState,
    /// The account of the Service that it belongs to.
    pub account: ServiceId,
}

impl BackendTag {
    /// The word for [`Backend::tag`].
    pub const fn pack(self) -> u64 {
        (self.account.0 as u64) << 32
            | (self.state as u64) << 24
            | (self.protocol.number() as u64) << 16
            | self.port.network() as u64
    }

    /// From the word in [`Backend::tag`]; `None` for an id that is not in use.
    pub fn unpack(word: u64) -> Option<Self> {
        let state = match (word >> 24) as u8 {
            1 => BackendState::Serving,
            2 => BackendState::Gone,
            _ => return None,
        };
        let protocol = Protocol::from_number(u32::from((word >> 16) as u8))?;
        let account = Self::account_of(word);
        Some(Self { port: Self::port_of(word), protocol, state, account })
    }

    /// The port in a packed word, alone.
    #[inline(always)]
    pub const fn port_of(word: u64) -> Port {
        Port::from_network(word as u16)
    }

    /// Whether the state in a packed word is [`BackendState::Serving`].
    #[inline(always)]
    pub const fn is_serving(word: u64) -> bool {
        (word >> 24) as u8 == BackendState::Serving as u8
    }

    /// The account in a packed word, alone.
    #[inline(always)]
    pub const fn account_of(word: u64) -> ServiceId {
        ServiceId((word >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_tag_keeps_its_parts(port: u16, account: u32, udp: bool, gone: bool) {
            let tag = BackendTag {
                port: Port::from_host(port),
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                state: if gone { BackendState::Gone } else { BackendState::Serving },
                account: ServiceId(account),
            };
            let word = tag.pack();
            prop_assert_eq!(BackendTag::unpack(word), Some(tag));
            prop_assert_eq!(BackendTag::port_of(word), tag.port);
            prop_assert_eq!(BackendTag::is_serving(word), !gone);
            prop_assert_eq!(BackendTag::account_of(word), tag.account);
        }
    }

    #[test]
    fn a_zeroed_tag_is_no_backend() {
        assert_eq!(BackendTag::unpack(0), None);
    }
}
