//! Where the next connection goes, slot by slot, by the functions that the programs use.

use mesh_common::atomic::Atomic64;
use mesh_common::select::{self, Algorithm, Draw};

/// The probability of each slot, in their order: first that of being picked, then that of being the next with room
/// after a pick that has none. All are 0 when no slot has room.
pub(super) fn of_slots(algorithm: Algorithm, cursor: u64, has_room: &[bool]) -> Vec<f64> {
    let mut likelihood = vec![0.0; has_room.len()];
    let Ok(len @ 1..) = u32::try_from(has_room.len()) else { return likelihood };
    for (first, probability) in first_picks(algorithm, cursor, len) {
        let taken = (0..len).map(|attempt| select::next(first, attempt, len) as usize).find(|&slot| has_room[slot]);
        if let Some(slot) = taken {
            likelihood[slot] += probability;
        }
    }
    likelihood
}

/// Which slot is picked first, and how likely.
fn first_picks(algorithm: Algorithm, cursor: u64, len: u32) -> Vec<(u32, f64)> {
    match algorithm {
        Algorithm::Random => (0..len).map(|slot| (slot, 1.0 / f64::from(len))).collect(),
        Algorithm::RoundRobin => {
            let cursor = Atomic64::new(cursor);
            vec![(select::pick(algorithm as u8, &Draw { random: 0, cursor: &cursor, len }), 1.0)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_distribution_over_slots_with_room(cursor: u64, has_room in proptest::collection::vec(any::<bool>(), 0..20)) {
            for algorithm in Algorithm::ALL {
                let likelihood = of_slots(algorithm, cursor, &has_room);
                let sum: f64 = likelihood.iter().sum();
                let expected = if has_room.contains(&true) { 1.0 } else { 0.0 };
                prop_assert!((sum - expected).abs() < 1e-9);
                prop_assert!(likelihood.iter().zip(&has_room).all(|(p, room)| *room || *p == 0.0));
            }
        }
    }

    #[test]
    fn a_full_slot_leaves_its_share_to_the_next() {
        let shares = of_slots(Algorithm::Random, 0, &[true, false, true, false]);
        assert_eq!(shares, [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(of_slots(Algorithm::Random, 0, &[true, false, false, false]), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn turns_are_taken_from_the_cursor_on() {
        assert_eq!(of_slots(Algorithm::RoundRobin, 4, &[true, true, true]), [0.0, 1.0, 0.0]);
        assert_eq!(of_slots(Algorithm::RoundRobin, 4, &[true, false, true]), [0.0, 0.0, 1.0]);
    }
}
