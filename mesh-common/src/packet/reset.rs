//! The segment that refuses a connection, as a host would that does not listen (RFC 9293, 3.10.7).

use super::{Flags, Segment};
use crate::address::Port;
use network_types::tcp::TcpHdr;

/// In which direction a reset goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Towards {
    /// Back to who sent the segment.
    Sender,
    /// On to whom it was for.
    Receiver,
}

/// A segment without options and data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    source_port: Port,
    destination_port: Port,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

/// Bytes of the header.
const LENGTH: usize = TcpHdr::LEN;

impl Reset {
    /// What ends the connection of `segment` at one of its ends.
    #[inline(always)]
    pub fn of(segment: &Segment, towards: Towards) -> Self {
        match towards {
            Towards::Sender if segment.flags.any(Flags::ACK) => Self {
                source_port: segment.destination_port,
                destination_port: segment.source_port,
                sequence: segment.acknowledgement,
                acknowledgement: 0,
                flags: Flags::RST,
            },
            Towards::Sender => Self {
                source_port: segment.destination_port,
                destination_port: segment.source_port,
                sequence: 0,
                acknowledgement: segment.sequence.wrapping_add(segment.occupies()),
                flags: Flags::RST | Flags::ACK,
            },
            Towards::Receiver => Self {
                source_port: segment.source_port,
                destination_port: segment.destination_port,
                sequence: segment.sequence,
                acknowledgement: 0,
                flags: Flags::RST,
            },
        }
    }

    /// The header as 32-bit words as they lie in memory, without a checksum.
    #[inline(always)]
    pub const fn words(&self) -> [u32; LENGTH / 4] {
        let ports = (self.source_port.network() as u32) | (self.destination_port.network() as u32) << 16;
        let length_and_flags = u32::from_be_bytes([(LENGTH as u8 / 4) << 4, self.flags, 0, 0]);
        [u32::from_le(ports), self.sequence.to_be(), self.acknowledgement.to_be(), length_and_flags.to_be(), 0]
    }
}

impl Segment {
    /// Sequence numbers that it takes up: its data, and one each for SYN and FIN.
    #[inline(always)]
    pub const fn occupies(&self) -> u32 {
        self.data + self.flags.any(Flags::SYN) as u32 + self.flags.any(Flags::FIN) as u32
    }
}
