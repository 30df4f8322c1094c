//! Packets with what is to become of them, as a table: for the tests of the parser, and for those of the loaded programs.

use super::PacketReason;
use network_types::eth::EtherType;
use network_types::ip::IpProto;
use std::vec::Vec;

/// A packet, and whether it passes.
#[derive(Clone, Debug)]
pub struct Example {
    /// What it is.
    pub description: &'static str,
    /// From the Ethernet header on.
    pub packet: Vec<u8>,
    /// `Err` when it is dropped.
    pub verdict: Result<(), PacketReason>,
}

/// The client and the server of all examples: 10.0.0.1 or fd00::1, port 40000; 10.0.0.2 or fd00::2, port 8080.
pub const PORTS: [u16; 2] = [40_000, 8_080];

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A TCP segment with this header length (in words) and these flags; sequence number 1000, acknowledgement 2000.
pub fn tcp(words: u8, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(PORTS[0].to_be_bytes());
    segment.extend(PORTS[1].to_be_bytes());
    segment.extend(1000_u32.to_be_bytes());
    segment.extend(2000_u32.to_be_bytes());
    segment.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    // No operation, as often as it takes.
    segment.resize(20.max(usize::from(words) * 4), 1);
    segment.extend(data);
    segment
}

/// A UDP datagram that says this length.
pub fn udp(length: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(PORTS[0].to_be_bytes());
    datagram.extend(PORTS[1].to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    datagram
}

fn ethernet(kind: EtherType, packet: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend((kind as u16).to_ne_bytes());
    frame.extend(packet);
    frame
}

/// An IPv4 packet with options of so many bytes, a multiple of 4.
pub fn v4(protocol: u8, options: usize, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let mut packet = std::vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 60, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.resize(header, 1);
    let sum = !checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    ethernet(EtherType::Ipv4, &packet)
}

/// An IPv6 packet.
pub fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = std::vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 60]);
    for last in [1, 2] {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    ethernet(EtherType::Ipv6, &packet)
}

/// The one's complement sum of bytes as 16-bit words in network order, added to `sum` (RFC 1071). Over a header and its
/// right checksum it is 0xffff.
pub fn checksum(bytes: &[u8], sum: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum = words.fold(sum, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An extension header of 8 bytes before `rest`.
fn extended(next: u8, rest: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], rest].concat()
}

fn with(mut packet: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    packet[offset..offset + bytes.len()].copy_from_slice(bytes);
    packet
}

fn cut(mut packet: Vec<u8>, length: usize) -> Vec<u8> {
    packet.truncate(length);
    packet
}

/// The table.
pub fn examples() -> Vec<Example> {
    use PacketReason::{ExtensionHeaders, IpHeader, IpLength, TcpHeader, Truncated, UdpLength};
    let [hop, route, options, fragment] =
        [IpProto::HopOpt as u8, IpProto::Ipv6Route as u8, IpProto::Ipv6Opts as u8, IpProto::Ipv6Frag as u8];
    let syn = tcp(5, SYN, &[]);
    let many = (0..7).fold(syn.clone(), |rest, n| extended(if n == 0 { TCP } else { options }, &rest));
    let mut all = Vec::new();
    let mut add = |description, packet, verdict| all.push(Example { description, packet, verdict });
    add("a SYN", v4(TCP, 0, &syn), Ok(()));
    add("a SYN over IPv6", v6(TCP, &syn), Ok(()));
    add("a SYN with options of IP's and TCP's", v4(TCP, 8, &tcp(10, SYN, &[])), Ok(()));
    add("data", v4(TCP, 0, &tcp(8, ACK | 0x08, b"hello")), Ok(()));
    add("a short frame with its padding", [v4(TCP, 0, &syn), [0; 6].to_vec()].concat(), Ok(()));
    add("a SYN behind two extension headers", v6(hop, &extended(options, &extended(TCP, &syn))), Ok(()));
    add("a SYN behind a routing header", v6(route, &extended(TCP, &syn)), Ok(()));
    add("a first fragment", v6(fragment, &[&[TCP, 0, 0, 1, 0, 0, 0, 9], &syn[..]].concat()), Ok(()));
    add("a later fragment", v6(fragment, &[TCP, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3]), Ok(()));
    add("a later fragment over IPv4", with(v4(TCP, 0, b"end"), 20, &[0, 9]), Ok(()));
    add("a datagram", v4(UDP, 0, &udp(13, b"hello")), Ok(()));
    add("the first fragment of a datagram", with(v4(UDP, 0, &udp(2000, b"hello")), 20, &[0x20, 0]), Ok(()));
    add("a ping", v4(IpProto::Icmp as u8, 0, &[8, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
    add("ARP", ethernet(EtherType::Arp, &[0; 28]), Ok(()));
    add("half an IPv4 header", cut(v4(TCP, 0, &syn), 24), Err(Truncated));
    add("half an IPv6 header", cut(v6(TCP, &syn), 40), Err(Truncated));
    add("IPv4 of version 6", with(v4(TCP, 0, &syn), 14, &[0x65]), Err(IpHeader));
    add("an IPv4 header of 16 bytes", with(v4(TCP, 0, &syn), 14, &[0x44]), Err(IpHeader));
    add("IPv6 of version 4", with(v6(TCP, &syn), 14, &[0x40]), Err(IpHeader));
    add("an IPv4 length beyond the packet", with(v4(TCP, 0, &syn), 16, &[0, 41]), Err(IpLength));
    add("an IPv4 length below the header's", with(v4(TCP, 0, &syn), 16, &[0, 19]), Err(IpLength));
    add("an IPv4 length of nothing", with(v4(TCP, 0, &syn), 16, &[0, 0]), Err(IpLength));
    add("an IPv6 length beyond the packet", with(v6(TCP, &syn), 18, &[0, 21]), Err(IpLength));
    add("an extension header beyond the packet", v6(options, &[TCP, 9, 1, 4, 0, 0, 0, 0]), Err(IpLength));
    add("an extension header that is cut off", v6(options, &[TCP, 0]), Err(Truncated));
    add("a SYN behind seven extension headers", v6(options, &many), Err(ExtensionHeaders));
    add("half a TCP header", v4(TCP, 0, &syn[..12]), Err(Truncated));
    add("a TCP header of 16 bytes", v4(TCP, 0, &tcp(4, SYN, &[])), Err(TcpHeader));
    add("a TCP header beyond the packet", v4(TCP, 0, &with(syn.clone(), 12, &[0x60])), Err(TcpHeader));
    add("half a UDP header", v4(UDP, 0, &udp(8, &[])[..6]), Err(Truncated));
    add("a UDP length beyond the packet", v4(UDP, 0, &udp(14, b"hello")), Err(UdpLength));
    add("a UDP length below the header's", v6(UDP, &udp(7, b"hello")), Err(UdpLength));
    for (description, flags, reason) in [
        ("no flags (a null scan)", 0, PacketReason::NoFlags),
        ("SYN and FIN", 0x03, PacketReason::SynFin),
        ("SYN and RST", 0x06, PacketReason::SynRst),
        ("FIN and RST", 0x15, PacketReason::FinRst),
        ("FIN alone (a FIN scan)", 0x01, PacketReason::NoAck),
        ("FIN, PSH and URG (a Christmas tree)", 0x29, PacketReason::NoAck),
    ] {
        add(description, v4(TCP, 0, &tcp(5, flags, &[])), Err(reason));
        add(description, v6(TCP, &tcp(5, flags, &[])), Err(reason));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, Reset, Towards, parse};
    use std::net::IpAddr;

    #[test]
    fn the_parser_says_what_the_table_says() {
        for Example { description, packet, verdict } in examples() {
            assert_eq!(parse(&packet[..]).map(drop), verdict, "{description}");
        }
    }

    #[test]
    fn a_segment_is_read_whatever_lies_before_it() {
        let data = tcp(8, ACK | 0x08, b"hello");
        let extensions = extended(IpProto::Ipv6Opts as u8, &extended(TCP, &data));
        for (packet, client, transport) in [
            (v4(TCP, 0, &data), "10.0.0.1", 34),
            (v4(TCP, 12, &data), "10.0.0.1", 46),
            (v6(TCP, &data), "fd00::1", 54),
            (v6(IpProto::HopOpt as u8, &extensions), "fd00::1", 70),
        ] {
            let Ok(Packet::Tcp(segment)) = parse(&packet[..]) else { panic!("{packet:?}") };
            assert_eq!(IpAddr::from(segment.source), client.parse::<IpAddr>().unwrap());
            assert_eq!([segment.source_port.host(), segment.destination_port.host()], PORTS);
            assert_eq!((segment.sequence, segment.acknowledgement), (1000, 2000));
            assert_eq!((segment.flags.0, segment.transport, segment.data), (ACK | 0x08, transport, 5));
        }
    }

    #[test]
    fn a_refusal_is_what_a_host_would_send_that_does_not_listen() {
        let reset = |flags, data: &[u8], towards| {
            let Ok(Packet::Tcp(segment)) = parse(&v4(TCP, 0, &tcp(5, flags, data))[..]) else { panic!() };
            let bytes: Vec<u8> =
                Reset::of(&segment, towards).words().iter().flat_map(|word| word.to_ne_bytes()).collect();
            let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            assert_eq!(bytes[14..], [0; 6]);
            (number(0), number(4), number(8), [bytes[12], bytes[13]])
        };
        let [client, server] = PORTS.map(u32::from);
        let [there, back] = [client << 16 | server, server << 16 | client];
        assert_eq!(reset(SYN, b"", Towards::Sender), (back, 0, 1001, [0x50, 0x14]));
        assert_eq!(reset(SYN, b"early", Towards::Sender), (back, 0, 1006, [0x50, 0x14]));
        assert_eq!(reset(ACK, b"data", Towards::Sender), (back, 2000, 0, [0x50, 0x04]));
        assert_eq!(reset(ACK, b"data", Towards::Receiver), (there, 1000, 0, [0x50, 0x04]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>, kind: bool) {
            let kind = if kind { EtherType::Ipv4 } else { EtherType::Ipv6 };
            if let Ok(Packet::Tcp(segment)) = parse(&ethernet(kind, &bytes)[..]) {
                assert!(segment.transport + 20 + segment.data as usize <= 14 + bytes.len());
            }
        }

        #[test]
        fn any_change_of_a_good_packet_is_judged(at in 14usize..94, byte: u8) {
            for Example { mut packet, .. } in examples() {
                if let Some(place) = packet.get_mut(at) {
                    *place = byte;
                    let _ = parse(&packet[..]);
                }
            }
        }
    }
}
