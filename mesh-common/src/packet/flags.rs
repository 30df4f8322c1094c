//! TCP's flags, and the sets of them that no host sends.

use super::PacketReason;

/// The flags of a TCP segment (RFC 9293, 3.1), in the order of the header's bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection at once.
    pub const RST: u8 = 0x04;
    /// Data is to be handed on at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number means something.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer means something.
    pub const URG: u8 = 0x20;

    /// Whether any of these is set.
    #[inline(always)]
    pub const fn any(self, of: u8) -> bool {
        self.0 & of != 0
    }

    /// Whether all of these are set.
    #[inline(always)]
    pub const fn all(self, of: u8) -> bool {
        self.0 & of == of
    }

    /// Whether it opens a connection: SYN without ACK.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN
    }

    /// What is impossible about the set, if anything: the sets that Linux' connection tracking calls invalid
    /// (`tcp_valid_flags`), less those that end a connection anyway.
    #[inline(always)]
    pub const fn check(self) -> Result<(), PacketReason> {
        if self.all(Self::SYN | Self::FIN) {
            return Err(PacketReason::SynFin);
        }
        if self.all(Self::SYN | Self::RST) {
            return Err(PacketReason::SynRst);
        }
        if self.all(Self::FIN | Self::RST) {
            return Err(PacketReason::FinRst);
        }
        if self.any(Self::SYN | Self::RST | Self::ACK) {
            return Ok(());
        }
        if self.any(Self::FIN | Self::PSH | Self::URG) {
            return Err(PacketReason::NoAck);
        }
        Err(PacketReason::NoFlags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_either_possible_or_named() {
        for bits in 0..64u8 {
            let flags = Flags(bits);
            let valid = [
                Flags::SYN,
                Flags::SYN | Flags::URG,
                Flags::SYN | Flags::ACK,
                Flags::SYN | Flags::ACK | Flags::URG,
                Flags::RST,
                Flags::RST | Flags::URG,
                Flags::RST | Flags::ACK,
                Flags::RST | Flags::ACK | Flags::URG,
                Flags::FIN | Flags::ACK,
                Flags::FIN | Flags::ACK | Flags::URG,
                Flags::ACK,
                Flags::ACK | Flags::URG,
            ]
            .contains(&(bits & !Flags::PSH));
            assert_eq!(flags.check().is_ok(), valid, "{bits:#08b}: {:?}", flags.check());
            // Congestion's flags make no difference.
            assert_eq!(Flags(bits | 0xc0).check(), flags.check());
        }
        assert_eq!(Flags(0).check(), Err(PacketReason::NoFlags));
        assert_eq!(Flags(Flags::FIN | Flags::PSH | Flags::URG).check(), Err(PacketReason::NoAck));
    }
}
