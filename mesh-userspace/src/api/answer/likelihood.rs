//! Where the next connection goes, slot by slot, by the functions that the programs use.

use mesh_common::atomic::Atomic64;
use mesh_common::select::least_connections::{self, Load};
use mesh_common::select::{self, Algorithm, Draw};

/// What decides over a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// Whether its backend takes another connection.
    pub has_room: bool,
    /// Its backend's load.
    pub load: Load,
}

/// The probability of each slot, in their order: first that of being picked, then that of being the next with room
/// after a pick that has none. All are 0 when no slot has room. For Maglev it is the probability over all clients.
pub(super) fn of_slots(algorithm: Algorithm, cursor: u64, slots: &[Slot]) -> Vec<f64> {
    let mut likelihood = vec![0.0; slots.len()];
    let Ok(len @ 1..) = u32::try_from(slots.len()) else { return likelihood };
    for (first, probability) in first_picks(algorithm, cursor, slots, len).into_iter().enumerate() {
        if probability == 0.0 {
            continue;
        }
        let attempts = (0..len).map(|attempt| select::next(first as u32, attempt, len) as usize);
        if let Some(slot) = attempts.into_iter().find(|&slot| slots[slot].has_room) {
            likelihood[slot] += probability;
        }
    }
    likelihood
}

/// How likely each slot is the first to be picked.
fn first_picks(algorithm: Algorithm, cursor: u64, slots: &[Slot], len: u32) -> Vec<f64> {
    let mut picks = vec![0.0; slots.len()];
    match algorithm {
        Algorithm::Random | Algorithm::Maglev => picks.fill(1.0 / f64::from(len)),
        Algorithm::RoundRobin => {
            let cursor = Atomic64::new(cursor);
            let draw = Draw { random: 0, cursor: &cursor, len, client: 0, port: 0 };
            picks[select::pick(algorithm as u8, &draw) as usize] = 1.0;
        }
        Algorithm::LeastConnections if len == 1 => picks[0] = 1.0,
        Algorithm::LeastConnections => {
            let pair = 1.0 / (f64::from(len) * f64::from(len - 1));
            for (first, one) in slots.iter().enumerate() {
                for (rival, other) in slots.iter().enumerate().filter(|(rival, _)| *rival != first) {
                    let wins = least_connections::is_less_loaded(other.load, one.load);
                    picks[if wins { rival } else { first }] += pair;
                }
            }
        }
    }
    picks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_distribution_over_slots_with_room(cursor: u64, slots in proptest::collection::vec((any::<bool>(), 0u64..9, 1u64..4), 0..20)) {
            let slots: Vec<Slot> = slots.into_iter().map(|(room, active, weight)| Slot { has_room: room, load: Load { active, weight } }).collect();
            for algorithm in Algorithm::ALL {
                let likelihood = of_slots(algorithm, cursor, &slots);
                let sum: f64 = likelihood.iter().sum();
                let expected = if slots.iter().any(|slot| slot.has_room) { 1.0 } else { 0.0 };
                prop_assert!((sum - expected).abs() < 1e-9);
                prop_assert!(likelihood.iter().zip(&slots).all(|(p, slot)| slot.has_room || *p == 0.0));
            }
        }
    }

    fn slots(has_room: &[bool]) -> Vec<Slot> {
        has_room.iter().map(|&has_room| Slot { has_room, load: Load { active: 0, weight: 1 } }).collect()
    }

    #[test]
    fn a_full_slot_leaves_its_share_to_the_next() {
        let shares = of_slots(Algorithm::Random, 0, &slots(&[true, false, true, false]));
        assert_eq!(shares, [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(of_slots(Algorithm::Random, 0, &slots(&[true, false, false, false])), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn turns_are_taken_from_the_cursor_on() {
        assert_eq!(of_slots(Algorithm::RoundRobin, 4, &slots(&[true, true, true])), [0.0, 1.0, 0.0]);
        assert_eq!(of_slots(Algorithm::RoundRobin, 4, &slots(&[true, false, true])), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn of_two_choices_the_less_loaded_wins() {
        let slot = |active| Slot { has_room: true, load: Load { active, weight: 1 } };
        let shares = of_slots(Algorithm::LeastConnections, 0, &[slot(0), slot(1), slot(2)]);
        let thirds: Vec<i32> = shares.iter().map(|share| (share * 3.0).round() as i32).collect();
        assert_eq!(thirds, [2, 1, 0]);
    }
}
