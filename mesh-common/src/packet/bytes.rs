//! A packet's bytes, wherever they lie: in a socket buffer of the kernel's, or in a slice.

use network_types::eth::EthHdr;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

/// What may be read from a packet as it stands.
///
/// # Safety
/// Any bytes are a valid value, the alignment is 1 and there is no padding.
pub unsafe trait Header: Copy {}

// SAFETY: bytes and arrays of bytes, without padding.
unsafe impl Header for Ipv4Hdr {}
// SAFETY: as above.
unsafe impl Header for Ipv6Hdr {}
// SAFETY: as above.
unsafe impl Header for TcpHdr {}
// SAFETY: as above.
unsafe impl Header for UdpHdr {}
// SAFETY: twelve bytes and a word of two: no padding, any bits.
unsafe impl Header for EthHdr {}
// SAFETY: bytes.
unsafe impl<const N: usize> Header for [u8; N] {}

/// A header at an address that is a multiple of 8: its fields are then read as whole words.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Word<T>(pub T);

/// A whole packet, from its Ethernet header on.
pub trait Bytes {
    /// Its length in bytes.
    fn length(&self) -> usize;

    /// Whether it stands for several packets that are cut only later (GSO): its IP length may then be 0 where it does not
    /// fit into 16 bits (BIG TCP).
    fn is_segmented(&self) -> bool;

    /// The header at an offset; `None` where the packet ends before it does.
    fn read<T: Header>(&self, offset: usize) -> Option<Word<T>>;
}

impl Bytes for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn is_segmented(&self) -> bool {
        false
    }

    fn read<T: Header>(&self, offset: usize) -> Option<Word<T>> {
        let bytes = self.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: `bytes` has the size of `T`, of which any bytes are a value.
        Some(Word(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }))
    }
}
