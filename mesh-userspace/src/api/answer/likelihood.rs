//! Where the next connection goes, slot by slot, by the functions that the programs use.

use mesh_common::atomic::Atomic64;
use mesh_common::select::least_connections::{self, Load};
use mesh_common::select::slow_start::TRIES;
use mesh_common::select::{self, Algorithm, Draw};

/// What decides over a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// Whether its backend takes another connection.
    pub has_room: bool,
    /// Whether it is ejected.
    pub out: bool,
    /// Its backend's load.
    pub load: Load,
}

/// The probability of each slot, in their order: first that of being picked, then that of being the next with room
/// after a pick that has none. All are 0 when no slot has room. For Maglev it is the probability over all clients.
pub(super) fn of_slots(algorithm: Algorithm, cursor: u64, slots: &[Slot]) -> Vec<f64> {
    let mut likelihood = vec![0.0; slots.len()];
    let Ok(len @ 1..) = u32::try_from(slots.len()) else { return likelihood };
    // All are out: as good as none.
    let is_out = |slot: usize| slots[slot].out && !slots.iter().all(|slot| slot.out);
    let mut picks = first_picks(algorithm, cursor, slots, len);
    if algorithm != Algorithm::Maglev {
        draw_anew(algorithm, cursor, &mut picks, is_out, len);
    }
    for (first, probability) in picks.into_iter().enumerate() {
        if probability == 0.0 {
            continue;
        }
        let attempts = (0..len).map(|attempt| select::next(first as u32, attempt, len) as usize);
        if let Some(slot) = attempts.into_iter().find(|&slot| slots[slot].has_room && !is_out(slot)) {
            likelihood[slot] += probability;
        }
    }
    likelihood
}

/// What picks of ejected slots become, which are drawn anew a few times.
fn draw_anew(algorithm: Algorithm, cursor: u64, picks: &mut [f64], is_out: impl Fn(usize) -> bool, len: u32) {
    for turn in 1..=u64::from(TRIES) {
        let out: f64 = (0..picks.len()).filter(|&slot| is_out(slot)).map(|slot| std::mem::take(&mut picks[slot])).sum();
        if algorithm == Algorithm::RoundRobin {
            picks[by_turns(cursor.wrapping_add(turn), len)] += out;
        } else {
            for pick in picks.iter_mut() {
                *pick += out / f64::from(len);
            }
        }
    }
}

/// The slot that a turn picks.
fn by_turns(cursor: u64, len: u32) -> usize {
    let cursor = Atomic64::new(cursor);
    select::pick(Algorithm::RoundRobin as u8, &Draw { random: 0, cursor: &cursor, len, client: 0, port: 0 }) as usize
}

/// How likely each slot is the first to be picked.
fn first_picks(algorithm: Algorithm, cursor: u64, slots: &[Slot], len: u32) -> Vec<f64> {
    let mut picks = vec![0.0; slots.len()];
    match algorithm {
        Algorithm::Random | Algorithm::Maglev => picks.fill(1.0 / f64::from(len)),
        Algorithm::RoundRobin => picks[by_turns(cursor, len)] = 1.0,
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
        fn it_is_a_distribution_over_slots_with_room(cursor: u64, slots in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u64..9, 1u64..4), 0..20)) {
            let slot = |(has_room, out, active, weight)| Slot { has_room, out, load: Load { active, weight } };
            let slots: Vec<Slot> = slots.into_iter().map(slot).collect();
            let all_out = slots.iter().all(|slot| slot.out);
            let takes = |slot: &Slot| slot.has_room && (all_out || !slot.out);
            for algorithm in Algorithm::ALL {
                let likelihood = of_slots(algorithm, cursor, &slots);
                let sum: f64 = likelihood.iter().sum();
                let expected = if slots.iter().any(takes) { 1.0 } else { 0.0 };
                prop_assert!((sum - expected).abs() < 1e-9);
                prop_assert!(likelihood.iter().zip(&slots).all(|(p, slot)| takes(slot) || *p == 0.0));
            }
        }
    }

    fn slots(has_room: &[bool]) -> Vec<Slot> {
        has_room.iter().map(|&has_room| Slot { has_room, out: false, load: Load { active: 0, weight: 1 } }).collect()
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
    fn what_an_ejected_slot_does_not_take_is_shared_among_the_others() {
        let slots = [false, true, false, false].map(|out| Slot { out, ..slots(&[true])[0] });
        let shares = of_slots(Algorithm::Random, 0, &slots);
        assert!(
            shares[1] == 0.0 && [0, 2, 3].iter().all(|&slot| (shares[slot] - 1.0 / 3.0).abs() < 0.01),
            "{shares:?}"
        );
        assert_eq!(of_slots(Algorithm::RoundRobin, 5, &slots), [0.0, 0.0, 1.0, 0.0]);
        // For Maglev the next in the table takes it: a client keeps that one for as long.
        assert_eq!(of_slots(Algorithm::Maglev, 0, &slots), [0.25, 0.0, 0.5, 0.25]);
    }

    #[test]
    fn of_two_choices_the_less_loaded_wins() {
        let slot = |active| Slot { has_room: true, out: false, load: Load { active, weight: 1 } };
        let shares = of_slots(Algorithm::LeastConnections, 0, &[slot(0), slot(1), slot(2)]);
        let thirds: Vec<i32> = shares.iter().map(|share| (share * 3.0).round() as i32).collect();
        assert_eq!(thirds, [2, 1, 0]);
    }
}
