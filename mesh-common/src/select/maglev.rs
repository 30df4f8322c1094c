//! Consistent hashing by a lookup table (Eisenbud and others 2016, section 3.4): the Service's slots are the table.
//!
//! The agent fills the table, the programs only look a client up in it. A client keeps its backend while that serves, and
//! when a backend comes or goes few clients change theirs but those that must.

use super::{Draw, mix, scale};

/// The position that the client hashes to.
#[inline(always)]
pub fn pick(draw: &Draw<'_>) -> u32 {
    let hash = mix(mix(draw.client) ^ u64::from(draw.port));
    scale((hash >> 32) as u32, draw.len)
}

/// Table sizes: primes, since every step must reach every position.
const SIZES: [u32; 7] = [251, 509, 1_021, 2_039, 4_093, 8_191, 16_381];

/// The most positions that a table has.
pub const LARGEST: u32 = SIZES[SIZES.len() - 1];

/// Positions for each backend at which no backend's share is off by more than about a hundredth (section 5.3).
const POSITIONS_EACH: usize = 100;

/// How many positions a table of so many backends has, at least as many as are asked for where there are so many. Above 163
/// backends shares differ by more than a hundredth.
pub fn size(backends: usize, least: u32) -> u32 {
    let wanted = backends.saturating_mul(POSITIONS_EACH).max(least as usize);
    SIZES.into_iter().find(|&size| size as usize >= wanted).unwrap_or(LARGEST)
}

/// A backend's place in the table.
#[cfg(any(test, feature = "std"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What tells it from others, the same on every node and after every restart.
    pub name: u64,
    /// Its weight, above 0.
    pub weight: u32,
}

/// The name of a backend by its address and what else tells it from others there.
pub fn name(address: &crate::address::Address, other: u64) -> u64 {
    let [a, b, c, d] = address.words().map(u64::from);
    mix(mix(a << 32 | b) ^ (c << 32 | d)).wrapping_add(mix(other))
}

/// The table: which entry each position says. Empty for no entries. More entries than positions leave the last out.
#[cfg(any(test, feature = "std"))]
pub fn table(entries: &[Entry], size: u32) -> Vec<u32> {
    struct Turn {
        position: u32,
        step: u32,
        /// What it may still take, in parts of the largest weight.
        credit: u64,
    }
    let Some(largest) = entries.iter().map(|entry| u64::from(entry.weight)).max().filter(|&weight| weight > 0) else {
        return Vec::new();
    };
    let turn = |entry: &Entry| {
        let hash = mix(entry.name);
        Turn { position: (hash >> 32) as u32 % size, step: 1 + hash as u32 % (size - 1), credit: 0 }
    };
    let mut turns: Vec<Turn> = entries.iter().map(turn).collect();
    let mut table = vec![u32::MAX; size as usize];
    let mut left = size;
    loop {
        for (index, (turn, entry)) in turns.iter_mut().zip(entries).enumerate() {
            // The largest takes one position a round, the others theirs once they have saved up for it.
            turn.credit += u64::from(entry.weight);
            if turn.credit < largest {
                continue;
            }
            turn.credit -= largest;
            while table[turn.position as usize] != u32::MAX {
                turn.position = ((u64::from(turn.position) + u64::from(turn.step)) % u64::from(size)) as u32;
            }
            table[turn.position as usize] = index as u32;
            left -= 1;
            if left == 0 {
                return table;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
mod tests {
    use super::*;
    use crate::atomic::Atomic64;
    use proptest::prelude::*;

    fn entries(names: impl IntoIterator<Item = u64>) -> Vec<Entry> {
        names.into_iter().map(|name| Entry { name: mix(name), weight: 1 }).collect()
    }

    /// The share of positions that say another backend by name.
    fn disruption(before: &[Entry], after: &[Entry], size: u32) -> f64 {
        let (old, new) = (table(before, size), table(after, size));
        let differs = |(a, b): &(&u32, &u32)| before[**a as usize].name != after[**b as usize].name;
        old.iter().zip(&new).filter(differs).count() as f64 / f64::from(size)
    }

    fn shares(table: &[u32], backends: usize) -> Vec<f64> {
        let mut counts = vec![0.0; backends];
        for &backend in table {
            counts[backend as usize] += 1.0 / table.len() as f64;
        }
        counts
    }

    proptest! {
        #[test]
        fn shares_are_those_of_the_weights(weights in proptest::collection::vec(1u32..8, 1..40), seed: u64) {
            let entries: Vec<Entry> = weights.iter().zip(seed..).map(|(&weight, name)| Entry { name: mix(name), weight }).collect();
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&table(&entries, size(entries.len(), 0)), entries.len()).iter().zip(&weights) {
                let wanted = f64::from(*weight) / f64::from(total);
                prop_assert!((share / wanted - 1.0).abs() < 0.1 , "{share} instead of {wanted}");
            }
        }
    }

    #[test]
    fn a_client_keeps_its_position_and_clients_spread() {
        let cursor = Atomic64::new(0);
        let at = |client, port| pick(&Draw { random: 0, cursor: &cursor, len: 251, client, port });
        assert_eq!(at(7, 80), at(7, 80));
        assert!((0..50).any(|port| at(7, port) != at(7, 80)));
        // Cookies of network namespaces are numbers in a row. Chi-square with 250 degrees of freedom: 0.999 below 325.
        let mut counts = vec![0f64; 251];
        (0..25_100u64).for_each(|client| counts[at(client, 0) as usize] += 1.0);
        let chi: f64 = counts.iter().map(|count| (count - 100.0).powi(2) / 100.0).sum();
        assert!(chi < 325.0, "{chi}");
    }

    /// What holds on the average of many sets of backends; a single set may be unlucky. The sets are always the same.
    #[test]
    fn few_clients_move_for_the_sake_of_others() {
        const SETS: u64 = 400;
        for count in [2u64, 3, 4, 5, 8, 13, 21, 39, 59] {
            let (mut reordered, mut along) = (0.0, 0.0);
            for set in 0..SETS {
                let seed = mix(set) >> 4;
                let before = entries(seed..seed + count);
                let size = size(before.len(), 0);
                let mut after = before.clone();
                after.reverse();
                reordered += disruption(&before, &after, size) / SETS as f64;
                let mut after = before.clone();
                after.remove((seed % count) as usize);
                // The share of the one that goes must move.
                along += (disruption(&before, &after, size) - 1.0 / count as f64) / SETS as f64;
            }
            assert!(reordered < 0.04, "{reordered} of all clients move when {count} backends are listed in reverse");
            assert!(along < 0.04, "{along} of all clients move along with one of {count} backends that goes");
        }
    }

    #[test]
    fn a_table_of_nothing_is_empty_and_one_of_many_is_full() {
        assert!(table(&[], 251).is_empty());
        let table = table(&entries(0..20_000), size(20_000, 0));
        assert_eq!(table.len(), 16_381);
        assert!(table.iter().all(|&entry| entry != u32::MAX));
    }
}
