//! Who has which address in a cluster, in both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The control plane's machine number; nodes count from 1.
pub(super) const CONTROL_PLANE: u8 = 100;

/// Every pod of every node.
pub const POD_RANGES: [&str; 2] = ["10.99.0.0/16", "fd00:10:99::/48"];

/// The cluster's DNS Service.
pub const DNS: &str = "10.96.0.10";

/// A machine's own addresses, IPv4 first: `172.31.0.1` and `fd00:172:31::1`.
pub fn machine(number: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0x172, 0x31, 0, 0, 0, 0, number.into());
    [Ipv4Addr::new(172, 31, 0, number).into(), v6.into()]
}

/// The pods of one node, IPv4 first: `10.99.1.0/24` and `fd00:10:99:1::/64`.
pub fn pods(node: u8) -> [String; 2] {
    [format!("10.99.{node}.0/24"), format!("{}/64", Ipv6Addr::new(0xfd00, 0x10, 0x99, node.into(), 0, 0, 0, 0))]
}
