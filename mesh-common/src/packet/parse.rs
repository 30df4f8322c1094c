//! Ethernet, IPv4 and IPv6 with its extension headers, down to TCP and UDP.

use super::{Bytes, Flags, PacketReason, Word};
use crate::address::{Address, Port};
use core::mem::{offset_of, transmute};
use network_types::bitfield::BitfieldU16;
use network_types::eth::{EthHdr, EtherType};
use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

/// IPv6 extension headers that are looked through; hosts send one or two.
const MOST_EXTENSIONS: usize = 6;

/// `frags` of an IPv4 header: more fragments follow.
const MORE_FRAGMENTS: u16 = 0x2000;
/// `frags` of an IPv4 header: where the fragment lies in the whole.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Of which family a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a packet is, as far as the programs care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram, or its first fragment.
    Udp,
    /// Anything else: not IP, another protocol, a fragment that is not the first.
    Other,
}

/// A TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// From which port.
    pub source_port: Port,
    /// To which port.
    pub destination_port: Port,
    /// Sequence number, host order.
    pub sequence: u32,
    /// Acknowledgement number, host order; means something with ACK.
    pub acknowledgement: u32,
    /// Its flags.
    pub flags: Flags,
    /// Of which family the packet is.
    pub family: Family,
    /// Where the TCP header begins, bytes from the start of the packet.
    pub transport: usize,
    /// Bytes of data.
    pub data: u32,
}

/// Where the transport header is, and how long it is with its data.
struct Transport {
    protocol: u8,
    offset: usize,
    length: usize,
    /// Whether further fragments follow: lengths then speak of the whole.
    fragment: bool,
}

/// Says what a packet is, or what is wrong with it.
#[inline(always)]
pub fn parse(packet: &(impl Bytes + ?Sized)) -> Result<Packet, PacketReason> {
    let Some(Word(ethernet)) = packet.read::<EthHdr>(0) else { return Err(PacketReason::Truncated) };
    if ethernet.ether_type == EtherType::Ipv4 as u16 {
        let Some(Word(ip)) = packet.read::<Ipv4Hdr>(EthHdr::LEN) else { return Err(PacketReason::Truncated) };
        let Some(transport) = v4(packet, &ip)? else { return Ok(Packet::Other) };
        let [source, destination] = [ip.src_addr, ip.dst_addr].map(|of| Address::from_v4_word(u32::from_ne_bytes(of)));
        return inner(packet, &transport, Family::V4, source, destination);
    }
    if ethernet.ether_type == EtherType::Ipv6 as u16 {
        let Some(Word(ip)) = packet.read::<Ipv6Hdr>(EthHdr::LEN) else { return Err(PacketReason::Truncated) };
        let Some(transport) = v6(packet, &ip)? else { return Ok(Packet::Other) };
        return inner(packet, &transport, Family::V6, Address(ip.src_addr), Address(ip.dst_addr));
    }
    Ok(Packet::Other)
}

/// The length that an IP header tells, checked against that of the packet. A frame may be padded: longer is fine.
#[inline(always)]
fn told(packet: &(impl Bytes + ?Sized), header: usize, told: usize) -> Result<usize, PacketReason> {
    let there = packet.length() - EthHdr::LEN;
    if told == 0 && packet.is_segmented() {
        return Ok(there);
    }
    if told < header || told > there { Err(PacketReason::IpLength) } else { Ok(told) }
}

#[inline(always)]
fn v4(packet: &(impl Bytes + ?Sized), ip: &Ipv4Hdr) -> Result<Option<Transport>, PacketReason> {
    let header = usize::from(ip.vihl & 0x0f) * 4;
    if ip.vihl >> 4 != 4 || header < Ipv4Hdr::LEN {
        return Err(PacketReason::IpHeader);
    }
    let length = told(packet, header, usize::from(u16::from_be_bytes(ip.tot_len)))?;
    let fragments = u16::from_be_bytes(ip.frags);
    if fragments & FRAGMENT_OFFSET != 0 {
        return Ok(None);
    }
    Ok(Some(Transport {
        protocol: ip.proto,
        offset: EthHdr::LEN + header,
        length: length - header,
        fragment: fragments & MORE_FRAGMENTS != 0,
    }))
}

#[inline(always)]
fn v6(packet: &(impl Bytes + ?Sized), ip: &Ipv6Hdr) -> Result<Option<Transport>, PacketReason> {
    if ip.vcf[0] >> 4 != 6 {
        return Err(PacketReason::IpHeader);
    }
    let payload = usize::from(u16::from_be_bytes(ip.payload_len));
    let whole = if payload == 0 && packet.is_segmented() { 0 } else { Ipv6Hdr::LEN + payload };
    let end = EthHdr::LEN + told(packet, Ipv6Hdr::LEN, whole)?;
    let (mut protocol, mut offset, mut fragment) = (ip.next_hdr, EthHdr::LEN + Ipv6Hdr::LEN, false);
    for _ in 0..MOST_EXTENSIONS {
        let unit = match protocol {
            p if p == IpProto::HopOpt as u8 || p == IpProto::Ipv6Route as u8 || p == IpProto::Ipv6Opts as u8 => 8,
            p if p == IpProto::Ah as u8 => 4,
            p if p == IpProto::Ipv6Frag as u8 => 0,
            _ => {
                if offset > end {
                    return Err(PacketReason::IpLength);
                }
                return Ok(Some(Transport { protocol, offset, length: end - offset, fragment }));
            }
        };
        let Some(Word([next, length, high, low])) = packet.read::<[u8; 4]>(offset) else {
            return Err(PacketReason::Truncated);
        };
        offset += match unit {
            0 => {
                let place = u16::from_be_bytes([high, low]);
                if place & 0xfff8 != 0 {
                    return Ok(None);
                }
                fragment |= place & 1 != 0;
                8
            }
            4 => (usize::from(length) + 2) * 4,
            unit => (usize::from(length) + 1) * unit,
        };
        protocol = next;
    }
    Err(PacketReason::ExtensionHeaders)
}

#[inline(always)]
fn inner(
    packet: &(impl Bytes + ?Sized),
    at: &Transport,
    family: Family,
    source: Address,
    destination: Address,
) -> Result<Packet, PacketReason> {
    if at.protocol == IpProto::Tcp as u8 {
        return tcp(packet, at, family, source, destination);
    }
    if at.protocol == IpProto::Udp as u8 {
        let udp = if at.length < UdpHdr::LEN { None } else { packet.read::<UdpHdr>(at.offset) };
        let Some(Word(udp)) = udp else { return Err(PacketReason::Truncated) };
        let told = usize::from(u16::from_be_bytes(udp.len));
        let fits = at.fragment || told <= at.length || packet.is_segmented();
        return if told >= UdpHdr::LEN && fits { Ok(Packet::Udp) } else { Err(PacketReason::UdpLength) };
    }
    Ok(Packet::Other)
}

#[inline(always)]
fn tcp(
    packet: &(impl Bytes + ?Sized),
    at: &Transport,
    family: Family,
    source: Address,
    destination: Address,
) -> Result<Packet, PacketReason> {
    let tcp = if at.length < TcpHdr::LEN { None } else { packet.read::<TcpHdr>(at.offset) };
    let Some(Word(tcp)) = tcp else { return Err(PacketReason::Truncated) };
    let [offset, flags] = length_and_flags(&tcp);
    let header = usize::from(offset >> 4) * 4;
    if header < TcpHdr::LEN || header > at.length {
        return Err(PacketReason::TcpHeader);
    }
    let flags = Flags(flags);
    flags.check()?;
    Ok(Packet::Tcp(Segment {
        source,
        destination,
        source_port: Port::from_network(u16::from_ne_bytes(tcp.source)),
        destination_port: Port::from_network(u16::from_ne_bytes(tcp.dest)),
        sequence: u32::from_be_bytes(tcp.seq),
        acknowledgement: u32::from_be_bytes(tcp.ack_seq),
        flags,
        family,
        transport: at.offset,
        data: (at.length - header) as u32,
    }))
}

/// The two bytes of a TCP header with its length and its flags. The library reads them bit by bit, in loops.
#[inline(always)]
fn length_and_flags(tcp: &TcpHdr) -> [u8; 2] {
    const { assert!(offset_of!(TcpHdr, _bitfield_1) == 12) };
    // SAFETY: the library's type is these two bytes.
    unsafe { transmute::<BitfieldU16, [u8; 2]>(tcp._bitfield_1) }
}
