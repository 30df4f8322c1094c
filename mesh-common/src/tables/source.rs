//! Who may reach a Service at its load balancer's addresses (`loadBalancerSourceRanges`).

use super::ServiceId;

/// Key of `SOURCES`: a client whose address of one family is in a Service's ranges. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceKey {
    /// The pod's cgroup; [`SourceKey::NODE`] for whoever is in the node's network.
    pub cgroup: u64,
    /// The account of the Service.
    pub account: ServiceId,
    /// 1 for IPv6, 0 for IPv4.
    pub v6: u32,
}

const _: () = assert!(size_of::<SourceKey>() == 16);

impl SourceKey {
    /// In `cgroup`: clients in the node's network. No cgroup has this id.
    pub const NODE: u64 = 0;

    /// The key's bytes, as the kernel compares them.
    pub fn bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[..8].copy_from_slice(&self.cgroup.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.account.0.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.v6.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_bytes_are_the_keys() {
        let key = SourceKey { cgroup: 0x0102_0304_0506_0708, account: ServiceId(9), v6: 1 };
        let bytes = key.bytes();
        assert_eq!(bytes[..8], key.cgroup.to_ne_bytes());
        assert_eq!((offset_of!(SourceKey, account), offset_of!(SourceKey, v6)), (8, 12));
        assert_eq!(
            (bytes[8..12].to_vec(), bytes[12..].to_vec()),
            (9_u32.to_ne_bytes().to_vec(), 1_u32.to_ne_bytes().to_vec())
        );
    }
}
