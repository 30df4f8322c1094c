//! Packets, as the programs at pods' interfaces judge them: what a packet is, what is wrong with it, and how a refusal
//! looks.
//!
//! | module | holds |
//! |---|---|
//! | `bytes` | a packet's bytes, wherever they lie |
//! | `parse` | Ethernet, IPv4 and IPv6 with its extension headers, down to TCP and UDP |
//! | [`examples`] | packets and what is to become of them, for tests |
//! | `flags` | TCP's flags, and the sets that no host sends |
//! | `reason` | why a packet was dropped or refused |
//! | `reset` | the segment that refuses a connection |
//!
//! The layouts of headers are those of `network-types`.

mod bytes;
#[cfg(any(test, feature = "std"))]
pub mod examples;
mod flags;
mod parse;
mod reason;
mod reset;

pub use bytes::{Bytes, Header, Word};
pub use flags::Flags;
pub use parse::{Family, Packet, Segment, parse};
pub use reason::PacketReason;
pub use reset::{Reset, Towards};
