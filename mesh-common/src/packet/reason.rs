//! Why a packet was dropped or refused at a pod's interface.
//!
//! To add one, add a variant and its row in [`PacketReason::ALL`]: it is counted, shown and worded from there.

/// The cause of one drop or refusal. The number is the index in `PACKET_COUNTS`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PacketReason {
    /// Refused with a RST: the backend has `maxInboundConnectionsPerBackend` connections.
    InboundLimit = 0,
    /// Reset at both ends: the handshake ended after another had taken the last slot.
    InboundRace = 1,
    /// Reset at both ends: the table of inbound connections is full.
    InboundTableFull = 2,
    /// A header is cut off.
    Truncated = 3,
    /// The IP header's version or length is impossible.
    IpHeader = 4,
    /// The IP header speaks of more bytes than there are, or of fewer than itself.
    IpLength = 5,
    /// More IPv6 extension headers than are looked through.
    ExtensionHeaders = 6,
    /// The TCP header's length is impossible.
    TcpHeader = 7,
    /// The UDP header speaks of more bytes than there are, or of fewer than itself.
    UdpLength = 8,
    /// TCP without any flag.
    NoFlags = 9,
    /// SYN and FIN.
    SynFin = 10,
    /// SYN and RST.
    SynRst = 11,
    /// FIN and RST.
    FinRst = 12,
    /// FIN, PSH or URG without ACK.
    NoAck = 13,
    /// The source is a Service's address and port.
    SpoofedFrontend = 14,
    /// Passed in mode Observe: the backend has `maxInboundConnectionsPerBackend` connections.
    ObservedInboundLimit = 15,
}

impl PacketReason {
    /// Counters reserved; a power of two, with room for what comes.
    pub const COUNTERS: u32 = 32;

    /// Every reason in the order of its number.
    pub const ALL: [Self; 16] = [
        Self::InboundLimit,
        Self::InboundRace,
        Self::InboundTableFull,
        Self::Truncated,
        Self::IpHeader,
        Self::IpLength,
        Self::ExtensionHeaders,
        Self::TcpHeader,
        Self::UdpLength,
        Self::NoFlags,
        Self::SynFin,
        Self::SynRst,
        Self::FinRst,
        Self::NoAck,
        Self::SpoofedFrontend,
        Self::ObservedInboundLimit,
    ];

    /// The stable name, as in JSON keys and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InboundLimit => "inbound-limit",
            Self::InboundRace => "inbound-race",
            Self::InboundTableFull => "inbound-table-full",
            Self::Truncated => "truncated",
            Self::IpHeader => "ip-header",
            Self::IpLength => "ip-length",
            Self::ExtensionHeaders => "extension-headers",
            Self::TcpHeader => "tcp-header",
            Self::UdpLength => "udp-length",
            Self::NoFlags => "tcp-no-flags",
            Self::SynFin => "tcp-syn-fin",
            Self::SynRst => "tcp-syn-rst",
            Self::FinRst => "tcp-fin-rst",
            Self::NoAck => "tcp-no-ack",
            Self::SpoofedFrontend => "spoofed-frontend",
            Self::ObservedInboundLimit => "observed-inbound-limit",
        }
    }

    /// The sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::InboundLimit => "refused: the backend is at maxInboundConnectionsPerBackend",
            Self::InboundRace => "reset: another handshake took the last slot of maxInboundConnectionsPerBackend first",
            Self::InboundTableFull => "reset: the table of inbound connections is full",
            Self::Truncated => "dropped: a header is cut off",
            Self::IpHeader => "dropped: the IP header's version or length is impossible",
            Self::IpLength => "dropped: the IP length is not that of the packet",
            Self::ExtensionHeaders => "dropped: too many IPv6 extension headers",
            Self::TcpHeader => "dropped: the TCP header's length is impossible",
            Self::UdpLength => "dropped: the UDP length is not that of the packet",
            Self::NoFlags => "dropped: a TCP segment without flags",
            Self::SynFin => "dropped: a TCP segment with SYN and FIN",
            Self::SynRst => "dropped: a TCP segment with SYN and RST",
            Self::FinRst => "dropped: a TCP segment with FIN and RST",
            Self::NoAck => "dropped: a TCP segment with FIN, PSH or URG and without ACK",
            Self::SpoofedFrontend => "dropped: the source is a Service's address and port",
            Self::ObservedInboundLimit => {
                "passed, and would be refused by maxInboundConnectionsPerBackend but for mode Observe"
            }
        }
    }
}

const _: () = assert!(PacketReason::ALL.len() <= PacketReason::COUNTERS as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_positions_and_names_are_distinct() {
        for (position, reason) in PacketReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
        }
        let names: HashSet<_> = PacketReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), PacketReason::ALL.len());
    }
}
