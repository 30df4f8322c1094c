//! Addresses, ports and protocols as manifests write them.

use mesh_common::address::Protocol;
use std::net::IpAddr;

/// Why a text is not an address that mesh can use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadAddress(pub(super) &'static str);

/// An endpoint's address: any that a socket can be connected to.
pub(super) fn endpoint(text: &str) -> Result<IpAddr, BadAddress> {
    let ip: IpAddr = text.parse().map_err(|_| BadAddress("is no IP address"))?;
    if ip.to_canonical() != ip {
        Err(BadAddress("is an IPv4 address written as IPv6"))
    } else if ip.is_unspecified() {
        Err(BadAddress("is the unspecified address"))
    } else if ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        Err(BadAddress("is an address of many hosts"))
    } else {
        Ok(ip)
    }
}

/// A Service's address: besides, not one that every host has for itself, or all traffic to localhost would be taken.
pub(super) fn service(text: &str) -> Result<IpAddr, BadAddress> {
    let ip = endpoint(text)?;
    if ip.is_loopback() { Err(BadAddress("is a loopback address")) } else { Ok(ip) }
}

/// A port, 1 to 65535.
pub(super) fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|&port| port != 0)
}

/// What is balanced of a protocol's name; `Err` for one that Kubernetes does not know.
pub(super) fn protocol(name: Option<&str>) -> Result<Option<Protocol>, ()> {
    match name {
        None | Some("" | "TCP") => Ok(Some(Protocol::Tcp)),
        Some("UDP") => Ok(Some(Protocol::Udp)),
        Some("SCTP") => Ok(None),
        Some(_) => Err(()),
    }
}

/// What to write instead of a port out of range.
pub(super) const PORT_ACTION: &str = "write a port from 1 to 65535";

/// What to write instead of an unknown protocol.
pub(super) const PROTOCOL_ACTION: &str = "write TCP, UDP or SCTP";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1", "fd00::1", "127.0.0.1", "169.254.20.10"] {
            assert_eq!(endpoint(good).map(|ip| ip.to_string()), Ok(good.to_string()));
        }
        for bad in ["", "10.0.0", "10.0.0.256", "cart", "10.0.0.1/32", "::ffff:10.0.0.1", "0.0.0.0", "::", "224.0.0.1"]
        {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        assert!(service("10.96.0.1").is_ok());
        assert!(service("127.0.0.1").is_err());
        assert!(service("::1").is_err());
    }

    #[test]
    fn ports() {
        assert_eq!([-1, 0, 1, 65535, 65536, 70000].map(port), [None, None, Some(1), Some(65535), None, None]);
    }

    #[test]
    fn protocols() {
        assert_eq!(protocol(None), Ok(Some(Protocol::Tcp)));
        assert_eq!(protocol(Some("UDP")), Ok(Some(Protocol::Udp)));
        assert_eq!(protocol(Some("SCTP")), Ok(None));
        assert_eq!(protocol(Some("tcp")), Err(()));
    }
}
