//! A budget over time, in one word: the generic cell rate algorithm (ITU-T I.371), without drift.

/// How far the budget may run ahead: one second, in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// Spends `cost` nanoseconds of the budget whose state is `spent_until`, at the time `now` of the same clock. The new
/// state, or `None` when a second's budget is spent.
#[inline(always)]
pub const fn spend(spent_until: u64, now: u64, cost: u64) -> Option<u64> {
    let from = if spent_until > now { spent_until } else { now };
    let until = from.saturating_add(cost);
    if until - now > BURST { None } else { Some(until) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_budget_of_the_time_and_one_burst(
            cost in 1_000_000u64..2_000_000_000,
            gaps in proptest::collection::vec(0u64..50_000_000, 1..500),
        ) {
            let (mut state, mut now, mut spent) = (0, 5_000_000_000u64, 0u64);
            let start = now;
            for gap in gaps {
                now += gap;
                if let Some(next) = spend(state, now, cost) {
                    state = next;
                    spent += cost;
                }
            }
            prop_assert!(spent <= now - start + BURST);
        }
    }

    #[test]
    fn an_idle_budget_is_whole_again() {
        let cost = BURST / 10;
        let mut state = 0;
        for _ in 0..10 {
            state = spend(state, BURST, cost).unwrap();
        }
        assert_eq!(spend(state, BURST, cost), None);
        assert_eq!(spend(state, 2 * BURST, cost), Some(2 * BURST + cost));
    }
}
