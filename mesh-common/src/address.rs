//! Addresses, ports and protocols in the one form that every table uses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address of either family as 16 bytes in network order; IPv4 is v4-mapped (`::ffff:a.b.c.d`).
///
/// So `10.96.0.1` and a dual-stack socket's `::ffff:10.96.0.1` are one address and one code path.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address(pub [u8; 16]);

/// The third 32-bit word of every v4-mapped address, in memory order.
const V4_MAPPED_WORD: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// The v4-mapped form of an IPv4 address given as the 32-bit word that the kernel keeps (network order in memory).
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Self {
        Self::from_words([0, 0, V4_MAPPED_WORD, word])
    }

    /// An address from the four 32-bit words that the kernel keeps (network order in memory).
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        // SAFETY: any sixteen bytes are four words, and the other way round. Byte by byte LLVM makes a call of memset and
        // a dozen one-byte stores of it in a program, which the hash of the key then waits for.
        Self(unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) })
    }

    /// The four 32-bit words as the kernel keeps them (network order in memory).
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        // SAFETY: as in `from_words`; an address is aligned as a word.
        unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(self.0) }
    }

    /// Whether this is an IPv4 address (in v4-mapped form).
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        let w = self.words();
        w[0] == 0 && w[1] == 0 && w[2] == V4_MAPPED_WORD
    }
}

impl Address {
    /// `127.0.0.1`.
    pub const LOOPBACK_V4: Self = Self::from_v4_word(u32::from_ne_bytes([127, 0, 0, 1]));
    /// `::1`.
    pub const LOOPBACK_V6: Self = Self::from_words([0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])]);

    /// Whether this is one of these two.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        let w = self.words();
        w[0] == 0
            && w[1] == 0
            && (w[2] == V4_MAPPED_WORD && w[3] == u32::from_ne_bytes([127, 0, 0, 1])
                || w[2] == 0 && w[3] == u32::from_ne_bytes([0, 0, 0, 1]))
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(ip: Ipv4Addr) -> Self {
        IpAddr::V4(ip).into()
    }
}

impl From<Ipv6Addr> for Address {
    fn from(ip: Ipv6Addr) -> Self {
        IpAddr::V6(ip).into()
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.0).to_canonical()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport port in network byte order: what the kernel compares and what the tables hold.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port(u16);

impl Port {
    /// From the number that people write (host order).
    #[inline(always)]
    pub const fn from_host(port: u16) -> Self {
        Self(port.to_be())
    }

    /// The number that people read (host order).
    #[inline(always)]
    pub const fn host(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From a word of the kernel's that already is in network order.
    #[inline(always)]
    pub const fn from_network(raw: u16) -> Self {
        Self(raw)
    }

    /// The word in network order, for the kernel.
    #[inline(always)]
    pub const fn network(self) -> u16 {
        self.0
    }
}

impl PartialOrd for Port {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Port {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.host().cmp(&other.host())
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host().fmt(f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host().fmt(f)
    }
}

/// A transport protocol that the socket hooks balance; the number is the IP protocol number (IANA).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// TCP, 6.
    Tcp = 6,
    /// UDP, 17.
    Udp = 17,
}

impl Protocol {
    /// From an IP protocol number; `None` for what the socket hooks leave alone.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// The IP protocol number.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_keeps_its_value_through_words(bytes: [u8; 16]) {
            prop_assert_eq!(Address::from_words(Address(bytes).words()), Address(bytes));
        }

        #[test]
        fn v4_is_v4_mapped_and_prints_as_v4(octets: [u8; 4]) {
            let ip = Ipv4Addr::from(octets);
            let address = Address::from(ip);
            prop_assert!(address.is_v4());
            prop_assert_eq!(address, Address::from(ip.to_ipv6_mapped()));
            prop_assert_eq!(address, Address::from_v4_word(u32::from_ne_bytes(octets)));
            prop_assert_eq!(address.to_string(), ip.to_string());
        }

        #[test]
        fn a_port_keeps_its_value_and_its_order(a: u16, b: u16) {
            prop_assert_eq!(Port::from_host(a).host(), a);
            prop_assert_eq!(Port::from_network(Port::from_host(a).network()), Port::from_host(a));
            prop_assert_eq!(Port::from_host(a).cmp(&Port::from_host(b)), a.cmp(&b));
        }
    }

    #[test]
    fn loopback_is_one_address_of_each_family() {
        for (text, is) in
            [("127.0.0.1", true), ("::1", true), ("127.0.0.2", false), ("::2", false), ("10.0.0.1", false)]
        {
            assert_eq!(Address::from(text.parse::<IpAddr>().unwrap()).is_loopback(), is, "{text}");
        }
        assert_eq!(IpAddr::from(Address::LOOPBACK_V4).to_string(), "127.0.0.1");
        assert_eq!(IpAddr::from(Address::LOOPBACK_V6).to_string(), "::1");
    }

    #[test]
    fn a_v6_address_is_not_v4() {
        assert!(!Address::from("fd00::1".parse::<Ipv6Addr>().unwrap()).is_v4());
        assert!(!Address::default().is_v4());
    }
}
