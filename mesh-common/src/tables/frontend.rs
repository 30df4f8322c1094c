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
    /// [`FrontendKey::HERE`], or [`FrontendKey::NODES`]: then the address is its family's unspecified one.
    pub at: u8,
}

const _: () = assert!(size_of::<FrontendKey>() == 20 && align_of::<FrontendKey>() == 4);

impl FrontendKey {
    /// In `at`: the key's own address.
    pub const HERE: u8 = 0;
    /// In `at`: every address of a node. One element serves the port at all of them.
    pub const NODES: u8 = 1;

    /// The key of `address:port/protocol`.
    #[inline(always)]
    pub const fn new(address: Address, port: Port, protocol: Protocol) -> Self {
        Self { address, port, protocol: protocol.number(), at: Self::HERE }
    }

    /// The key of a `NodePort`: `port/protocol` at every address of a node, of one family.
    #[inline(always)]
    pub const fn node_port(v6: bool, port: Port, protocol: Protocol) -> Self {
        let address = if v6 { Address([0; 16]) } else { Address::from_v4_word(0) };
        Self { address, port, protocol: protocol.number(), at: Self::NODES }
    }

    /// Whether this is a `NodePort`.
    pub const fn is_node_port(&self) -> bool {
        self.at == Self::NODES
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
        if self.is_node_port() {
            let family = if self.address.is_v4() { "IPv4" } else { "IPv6" };
            write!(f, "{family} nodes:{}/{}", self.port, self.protocol())
        } else if self.address.is_v4() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn a_node_port_is_no_address_that_a_client_can_dial() {
        let port = Port::from_host(30_080);
        for (v6, dialled) in [(false, Address::from(Ipv4Addr::UNSPECIFIED)), (true, Address::default())] {
            let key = FrontendKey::node_port(v6, port, Protocol::Tcp);
            assert_eq!(key.address, dialled);
            assert_ne!(key, FrontendKey::new(dialled, port, Protocol::Tcp));
            assert_eq!(key.address.is_v4(), !v6);
        }
    }
}
