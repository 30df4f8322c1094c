//! A budget over time, in one word: the generic cell rate algorithm (ITU-T I.371), without drift.

use crate::atomic::Atomic64;

/// How far the budget of events may run ahead: one second, in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// How often a lost race is tried again.
const TRIES: u32 = 32;

/// Spends `cost` nanoseconds of the budget whose state is `spent_until`, at the time `now` of the same clock. The new
/// state, or `None` when a second's budget is spent.
#[inline(always)]
pub const fn spend(spent_until: u64, now: u64, cost: u64) -> Option<u64> {
    spend_within(spent_until, now, cost, BURST)
}

/// As [`spend`], where the budget may run ahead by `burst` nanoseconds.
#[inline(always)]
pub const fn spend_within(spent_until: u64, now: u64, cost: u64, burst: u64) -> Option<u64> {
    let from = if spent_until > now { spent_until } else { now };
    let until = from.saturating_add(cost);
    if until - now > burst { None } else { Some(until) }
}

/// Why nothing was spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// The budget is spent.
    All,
    /// Every race was lost.
    Contended,
}

/// Spends of a budget that others spend at the same time: never more than there is. A budget that has become smaller, because
/// its rate was changed, is empty and no emptier: what the old rate had run ahead is not waited for. A burst below the cost, as is
/// met while a rate is changed, is one of the cost.
#[inline(always)]
pub fn take(state: &Atomic64, now: u64, cost: u64, burst: u64) -> Result<(), Spent> {
    let burst = if burst < cost { cost } else { burst };
    let furthest = now.saturating_add(burst);
    let mut spent_until = state.load();
    for _ in 0..TRIES {
        let from = if spent_until > furthest { furthest } else { spent_until };
        let (until, verdict) = match spend_within(from, now, cost, burst) {
            Some(until) => (until, Ok(())),
            None if from == spent_until => return Err(Spent::All),
            None => (from, Err(Spent::All)),
        };
        match state.compare_exchange(spent_until, until) {
            Ok(_) => return verdict,
            Err(found) => spent_until = found,
        }
    }
    Err(Spent::Contended)
}

/// As [`take`], with one try and for a budget as it is: `false` when it is spent, a race was lost, or the rate was changed.
#[inline(always)]
pub fn take_once(state: &Atomic64, now: u64, cost: u64, burst: u64) -> bool {
    let spent_until = state.load();
    match spend_within(spent_until, now, cost, burst) {
        Some(until) => state.compare_exchange(spent_until, until).is_ok(),
        None => false,
    }
}

/// Takes back what [`take`] spent, for a connection that came to nothing.
#[inline(always)]
pub fn refund(state: &Atomic64, cost: u64) {
    state.fetch_sub(cost);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

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

        #[test]
        fn whoever_asks_all_the_time_gets_the_rate_exactly(rate in 1u64..10_000, burst in 1u64..50) {
            // In steps of a tenth of what one costs, for a hundred of them.
            let cost = 1_000_000_000u64.div_ceil(rate);
            let (state, start) = (Atomic64::new(0), 77_000_000_000u64);
            let mut taken = 0;
            for step in 0..=1_000 {
                taken += u64::from(take(&state, start + step * cost / 10, cost, burst * cost).is_ok());
            }
            prop_assert!(taken == burst + 100 || taken == burst + 99, "{taken}");
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

    #[test]
    fn a_rate_that_is_changed_does_not_wait_for_what_the_old_one_had_run_ahead() {
        let state = Atomic64::new(0);
        let now = 5_000_000_000;
        // A hundred at once, at one a second.
        for _ in 0..100 {
            take(&state, now, 1_000_000_000, 100_000_000_000).unwrap();
        }
        // From now on ten at once, at a thousand a second: the first after a millisecond.
        let (cost, burst) = (1_000_000, 10_000_000);
        assert_eq!(take(&state, now, cost, burst), Err(Spent::All));
        assert_eq!(take(&state, now + cost - 1, cost, burst), Err(Spent::All));
        assert_eq!(take(&state, now + cost, cost, burst), Ok(()));
        assert_eq!(take(&state, now + cost, cost, burst), Err(Spent::All));
        // What was refunded may be spent again, once.
        refund(&state, cost);
        assert_eq!(take(&state, now + cost, cost, burst), Ok(()));
        assert_eq!(take(&state, now + cost, cost, burst), Err(Spent::All));
    }

    proptest! {
        #[test]
        fn once_is_as_often_where_nobody_else_spends(
            cost in 1u64..1_000,
            at_once in 1u64..20,
            gaps in proptest::collection::vec(0u64..2_000, 1..200),
        ) {
            let (one, other) = (Atomic64::new(0), Atomic64::new(0));
            let mut now = 9_000_000;
            for gap in gaps {
                now += gap;
                let taken = take(&one, now, cost, at_once * cost).is_ok();
                prop_assert_eq!(take_once(&other, now, cost, at_once * cost), taken);
                prop_assert_eq!(one.load(), other.load());
            }
        }
    }

    /// By one way or the other.
    fn take_either(state: &Atomic64, turn: u32) -> bool {
        if turn.is_multiple_of(2) { take(state, 1_000, 7, 7_000).is_ok() } else { take_once(state, 1_000, 7, 7_000) }
    }

    #[test]
    fn threads_never_spend_more_than_there_is() {
        let state = Atomic64::new(0);
        let taken: usize = thread::scope(|scope| {
            let spender = || scope.spawn(|| (0..10_000).filter(|&n| take_either(&state, n)).count());
            let threads: Vec<_> = (0..8).map(|_| spender()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }
}
