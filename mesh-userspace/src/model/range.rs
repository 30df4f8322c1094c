//! A range of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range in CIDR notation, `192.0.2.0/24`. Bits beyond the prefix are kept and do not count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Range {
    address: IpAddr,
    /// Bits that count, 0 to 32 or 128.
    prefix: u8,
}

/// The text is no range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRange;

impl Range {
    /// Whether it is of IPv6 addresses.
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let beyond = |bits: u32| 1_u128.checked_shl(bits - u32::from(self.prefix)).map_or(0, |low| !(low - 1));
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = beyond(32);
                u128::from(u32::from(own)) & mask == u128::from(u32::from(ip)) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => u128::from(own) & beyond(128) == u128::from(ip) & beyond(128),
            _ => false,
        }
    }
}

impl FromStr for Range {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let (address, prefix) = text.split_once('/').ok_or(NoRange)?;
        let address: IpAddr = address.parse().map_err(|_| NoRange)?;
        let prefix: u8 = prefix.parse().map_err(|_| NoRange)?;
        let most = if address.is_ipv6() { 128 } else { 32 };
        if prefix > most { Err(NoRange) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_addresses_that_begin_alike() {
        let has = |range: &str, ip: &str| range.parse::<Range>().unwrap().contains(ip.parse().unwrap());
        for (range, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77/24", "192.0.2.1", "192.0.1.77"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("::/0", "fd00::1", "192.0.2.1"),
        ] {
            assert!(has(range, inside), "{range} {inside}");
            assert!(!has(range, outside), "{range} {outside}");
        }
        for bad in ["192.0.2.0", "192.0.2.0/33", "2001:db8::/129", "here/8", "192.0.2.0/-1", "/8", ""] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }
}
