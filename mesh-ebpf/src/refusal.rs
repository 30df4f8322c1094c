//! Turning a segment into the RST that refuses it, in place.

use crate::packet::{Failed, PSEUDO_HEADER, SocketBuffer, is_v4, sum};
use core::mem::offset_of;
use mesh_common::address::Protocol;
use mesh_common::packet::{Bytes, Reset, Segment, Towards, Word};
use network_types::eth::EthHdr;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;

/// Hops that a refusal may take, as Linux' own packets.
const HOPS: u8 = 64;

/// What the pseudo-header says besides addresses, summed: the protocol, and the length of a RST.
const PROTOCOL_AND_LENGTH: u32 =
    u16::from_ne_bytes([0, Protocol::Tcp.number()]) as u32 + (TcpHdr::LEN as u16).to_be() as u32;

/// The sum of nothing, as a checksum holds it: whole ones are inverted, and 0xffff is 0 in one's complement.
const EMPTY: u16 = 0xffff;

/// Makes the packet the RST that ends the segment's connection at one end. The packet's addresses may be those of the
/// segment or already turned round: they are written.
#[inline(always)]
pub fn rewrite(packet: &SocketBuffer, segment: &Segment, towards: Towards) -> Result<(), Failed> {
    let (source, destination) = match towards {
        Towards::Sender => (&segment.destination, &segment.source),
        Towards::Receiver => (&segment.source, &segment.destination),
    };
    packet.cut(segment.transport + TcpHdr::LEN)?;
    // Sender, then back to the receiver: each time the other way round.
    let Some(Word(ethernet)) = packet.read::<[u8; 12]>(0) else { return Err(Failed) };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = ethernet;
    packet.write(0, [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5])?;
    let length = (segment.transport + TcpHdr::LEN - EthHdr::LEN) as u16;
    let mut pseudo = PROTOCOL_AND_LENGTH;
    if is_v4(segment) {
        let [source, destination] = [source.words()[3], destination.words()[3]];
        v4(packet, length)?;
        packet.write(EthHdr::LEN + offset_of!(Ipv4Hdr, src_addr), [source, destination])?;
        pseudo = sum(&mut [source, destination], pseudo);
    } else {
        let (source, destination) = (source.words(), destination.words());
        let payload = length - Ipv6Hdr::LEN as u16;
        packet.write(EthHdr::LEN + offset_of!(Ipv6Hdr, payload_len), payload.to_be_bytes())?;
        packet.write(EthHdr::LEN + offset_of!(Ipv6Hdr, hop_limit), HOPS)?;
        packet.write(EthHdr::LEN + offset_of!(Ipv6Hdr, src_addr), [source, destination])?;
        let [mut source, mut destination] = [source, destination];
        pseudo = sum(&mut destination, sum(&mut source, pseudo));
    }
    let mut words = Reset::of(segment, towards).words();
    packet.write(segment.transport, words)?;
    let check = segment.transport + offset_of!(TcpHdr, check);
    packet.write(check, EMPTY)?;
    packet.add_to_sum(check, sum(&mut words, 0), 0)?;
    packet.add_to_sum(check, pseudo, PSEUDO_HEADER)
}

/// The length and the hops of an IPv4 header, and its checksum with them.
#[inline(always)]
fn v4(packet: &SocketBuffer, length: u16) -> Result<(), Failed> {
    let Some(Word(ip)) = packet.read::<Ipv4Hdr>(EthHdr::LEN) else { return Err(Failed) };
    let check = EthHdr::LEN + offset_of!(Ipv4Hdr, check);
    packet.replace_in_ip_sum(check, u16::from_ne_bytes(ip.tot_len), length.to_be())?;
    packet.write(EthHdr::LEN + offset_of!(Ipv4Hdr, tot_len), length.to_be_bytes())?;
    let from = u16::from_ne_bytes([ip.ttl, ip.proto]);
    packet.replace_in_ip_sum(check, from, u16::from_ne_bytes([HOPS, ip.proto]))?;
    packet.write(EthHdr::LEN + offset_of!(Ipv4Hdr, ttl), HOPS)
}
