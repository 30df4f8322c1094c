//! Which of a Service's slots takes the next connection: one file an algorithm, one arm here.
//!
//! To add an algorithm: `select/<name>.rs` with `pick(&Draw) -> u32`, a variant of [`Algorithm`], and its arm in
//! [`pick`]. The programs and `mesh explain` call the same function.

mod random;
mod round_robin;

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
}

impl Algorithm {
    /// Every algorithm in the order of its number.
    pub const ALL: [Self; 2] = [Self::Random, Self::RoundRobin];

    /// From the number in a rule; random for a number that this build does not know.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// The name in a `TrafficPolicy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "Random",
            Self::RoundRobin => "RoundRobin",
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
}

/// The position, below `draw.len`, that `algorithm` picks.
#[inline(always)]
pub fn pick(algorithm: u8, draw: &Draw<'_>) -> u32 {
    if algorithm == Algorithm::RoundRobin as u8 { round_robin::pick(draw) } else { random::pick(draw) }
}

/// The position to try after `attempt` positions that were full, from the first pick on: all of them, each once.
#[inline(always)]
pub const fn next(first: u32, attempt: u32, len: u32) -> u32 {
    let position = first as u64 + attempt as u64;
    if position >= len as u64 { (position - len as u64) as u32 } else { position as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_algorithm_picks_within_the_slots(random: u32, turns: u64, len in 1u32..=u32::MAX) {
            for algorithm in Algorithm::ALL {
                let cursor = Atomic64::new(turns);
                let position = pick(algorithm as u8, &Draw { random, cursor: &cursor, len });
                prop_assert!(position < len);
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
        assert_eq!(Algorithm::from_number(250), Algorithm::Random);
    }
}
