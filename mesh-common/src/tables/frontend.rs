//! What a client dials.

use crate::address::{Address, Port, Protocol};
use core::fmt;

/// Key of `FRONTENDS`: an address, port and protocol that clients use. 20 bytes, no padding left undefined.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The Service's address.
    pub address: Address,
    /// The Service's port, network order.
    pub port: Port,
    /// IP protocol number ([`Protocol::number`]).
    pub protocol: u8,
    /// Zero.
    pub _pad: u8,
}

const _: () = assert!(size_of::<FrontendKey>() == 20 && align_of::<FrontendKey>() == 4);

impl FrontendKey {
    /// The key of `address:port/protocol`.
    #[inline(always)]
    pub const fn new(address: Address, port: Port, protocol: Protocol) -> Self {
        Self { address, port, protocol: protocol.number(), _pad: 0 }
    }

    /// The protocol; TCP for anything that is not UDP, which [`FrontendKey::new`] cannot make.
    pub const fn protocol(&self) -> Protocol {
        match Protocol::from_number(self.protocol as u32) {
            Some(protocol) => protocol,
            None => Protocol::Tcp,
        }
    }
}

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.is_v4() {
            write!(f, "{}:{}/{}", self.address, self.port, self.protocol())
        } else {
            write!(f, "[{}]:{}/{}", self.address, self.port, self.protocol())
        }
    }
}

impl fmt::Debug for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
