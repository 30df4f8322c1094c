//! Which of a Service's slots takes the next connection: one file an algorithm, one arm here.
//!
//! To add an algorithm: `select/<name>.rs` with `pick(&Draw) -> u32`, a variant of [`Algorithm`], and its arm in
//! [`pick`]. The programs and `mesh explain` call the same functions.
//!
//! Weights are in the slots: a backend of weight 3 has three times as many positions as one of weight 1 ([`weighted`]),
//! so that no algorithm knows of them but [`least_connections`], which compares loads. For Maglev the slots are the
//! lookup table ([`maglev`]).

pub mod least_connections;
pub mod maglev;
mod random;
mod round_robin;
pub mod slow_start;
#[cfg(any(test, feature = "std"))]
pub mod weighted;

use crate::atomic::Atomic64;

/// A load-balancing algorithm, by the number in [`crate::tables::Rule`].
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Algorithm {
    /// Each slot with the same probability, as kube-proxy does.
    #[default]
    Random = 0,
    /// Each slot in turn, over all clients of this node.
    RoundRobin = 1,
    /// Of two random slots the one whose backend has fewer connections open for its weight.
    LeastConnections = 2,
    /// The slot that the client hashes to: a client keeps its backend, and few clients change theirs when backends do.
    Maglev = 3,
}

impl Algorithm {
    /// Every algorithm in the order of its number.
    pub const ALL: [Self; 4] = [Self::Random, Self::RoundRobin, Self::LeastConnections, Self::Maglev];

    /// From the number in a rule; random for a number that this build does not know.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// The name in a `TrafficPolicy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "Random",
            Self::RoundRobin => "RoundRobin",
            Self::LeastConnections => "LeastConnections",
            Self::Maglev => "Maglev",
        }
    }
}

/// What Maglev hashes, by the number in [`crate::tables::Rule`].
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HashBy {
    /// The client: its network namespace. One backend for all ports of a Service.
    #[default]
    Client = 0,
    /// The client and the port that it dials.
    ClientAndPort = 1,
}

impl HashBy {
    /// Every one in the order of its number.
    pub const ALL: [Self; 2] = [Self::Client, Self::ClientAndPort];

    /// From the number in a rule; the client for a number that this build does not know.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// The name in a `TrafficPolicy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::ClientAndPort => "ClientAndPort",
        }
    }
}

/// What an algorithm may look at.
pub struct Draw<'a> {
    /// Uniform random bits.
    pub random: u32,
    /// The Service's turn counter.
    pub cursor: &'a Atomic64,
    /// Number of slots, at least 1.
    pub len: u32,
    /// The client's network namespace (`SO_NETNS_COOKIE`).
    pub client: u64,
    /// The port that it dials, or 0 where that makes no difference.
    pub port: u16,
}

/// The position, below `draw.len`, that `algorithm` picks. For [`Algorithm::LeastConnections`] it is the first of two.
#[inline(always)]
pub fn pick(algorithm: u8, draw: &Draw<'_>) -> u32 {
    if algorithm == Algorithm::RoundRobin as u8 {
        round_robin::pick(draw)
    } else if algorithm == Algorithm::Maglev as u8 {
        maglev::pick(draw)
    } else {
        random::pick(draw)
    }
}

/// The position to try after `attempt` positions that were full, from the first pick on: all of them, each once.
#[inline(always)]
pub const fn next(first: u32, attempt: u32, len: u32) -> u32 {
    let position = first as u64 + attempt as u64;
    if position >= len as u64 { (position - len as u64) as u32 } else { position as u32 }
}

/// `x` in `0..2^32` onto `0..len`, without a division (Lemire 2019); a position's share is off by less than `len / 2^32`.
#[inline(always)]
pub(crate) const fn scale(x: u32, len: u32) -> u32 {
    ((x as u64 * len as u64) >> 32) as u32
}

/// Mixes all bits into all bits, as MurmurHash3 finishes (fmix64).
#[inline(always)]
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_algorithm_picks_within_the_slots(random: u32, turns: u64, client: u64, port: u16, len in 1u32..=u32::MAX) {
            for algorithm in Algorithm::ALL {
                let cursor = Atomic64::new(turns);
                let position = pick(algorithm as u8, &Draw { random, cursor: &cursor, len, client, port });
                prop_assert!(position < len);
                prop_assert!(least_connections::rival(position, random, len) < len);
            }
        }

        #[test]
        fn spilling_tries_every_slot_once(first in 0u32..200, len in 1u32..200) {
            let first = first % len;
            let mut tried: Vec<_> = (0..len).map(|attempt| next(first, attempt, len)).collect();
            prop_assert_eq!(tried[0], first);
            tried.sort_unstable();
            prop_assert_eq!(tried, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn numbers_are_positions() {
        for (position, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!(algorithm as usize, position);
        }
        for (position, hash) in HashBy::ALL.into_iter().enumerate() {
            assert_eq!(hash as usize, position);
        }
        assert_eq!(Algorithm::from_number(250), Algorithm::Random);
        assert_eq!(HashBy::from_number(250), HashBy::Client);
    }
}
