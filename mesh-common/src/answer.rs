//! How long backends take to answer: quantiles, kept in one word each, by which one that is slower than the others is found.
//!
//! An estimate of a quantile needs no samples. Each answer moves that of a Service by an eighth towards itself, up as far as
//! down: it settles where half of all answers are above it, the median, which is of the quick backends while most answers come
//! from these. That of a backend falls three steps for each that it rises: it settles at the lower quartile, so that it passes
//! the Service's median only where three quarters of the backend's answers are above that. Where answers are slow now and then
//! on all backends, or half of the time on a busy node, nobody's is.

use crate::atomic::Atomic64;
use crate::tables::SlowRule;

/// What an answer makes of an estimate (nanoseconds; 0 for none yet) that falls by `fall`. It never passes the answer.
#[inline(always)]
const fn moved(estimate: u64, answer: u64, fall: u64) -> u64 {
    if estimate == 0 {
        return if answer == 0 { 1 } else { answer };
    }
    let (up, down) = (estimate + estimate / 8 + 1, estimate - fall);
    if answer > estimate {
        if answer < up { answer } else { up }
    } else if answer > down {
        answer
    } else {
        down
    }
}

/// As far down as up, by proportion: nine eighths, eight ninths.
#[inline(always)]
const fn median(estimate: u64, answer: u64) -> u64 {
    moved(estimate, answer, estimate / 9)
}

/// Three times as far down as up: eight ninths, three times over.
#[inline(always)]
const fn quartile(estimate: u64, answer: u64) -> u64 {
    moved(estimate, answer, estimate / 10 * 3)
}

/// Notes that a backend took `answer` nanoseconds, below 2^40; whether it is slower than its Service's others by what the
/// rule says. Whoever writes at the same time may undo one step: it is an estimate.
#[inline(always)]
pub fn is_slow(backend: &Atomic64, service: &Atomic64, rule: SlowRule, answer: u64) -> bool {
    let all = median(service.load(), answer);
    service.store(all);
    // A backend that nothing is known of is like the others.
    let known = backend.load();
    let own = quartile(if known == 0 { all } else { known }, answer);
    backend.store(own);
    let (percent, least) = (u64::from(rule.percent), u64::from(rule.least) * 1_000_000);
    percent != 0 && own > all / 100 * percent && own > all + least
}

/// Forgets a backend's quartile: it is ejected, or comes back.
#[inline(always)]
pub fn forget(backend: &Atomic64) {
    backend.store(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const RULE: SlowRule = SlowRule { percent: 300, least: 5 };

    proptest! {
        #[test]
        fn an_estimate_stays_among_the_answers(answers in proptest::collection::vec(1u64..1 << 40, 1..300)) {
            for estimate in [median, quartile] {
                let end = answers.iter().fold(0, |before, &answer| estimate(before, answer));
                prop_assert!(answers.iter().min() <= Some(&end) && Some(&end) <= answers.iter().max());
            }
        }

        #[test]
        fn of_backends_that_are_alike_none_is_slow_however_uneven_their_answers(
            seed: u64,
            slow_share in 0u64..=33,
        ) {
            // Up to one answer in three takes hundreds of times as long, whichever backend it is of.
            let (backends, service) = ([const { Atomic64::new(0) }; 4], Atomic64::new(0));
            let mut state = seed | 1;
            let mut next = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            for step in 0..20_000 {
                let answer = if next(100) < slow_share { 100 * MS } else { MS / 4 + next(MS / 4) };
                // Before the Service's own median has settled nothing can be said of it.
                let slow = is_slow(&backends[next(4) as usize], &service, RULE, answer);
                prop_assert!(step < 500 || !slow);
            }
        }
    }

    /// Five backends, the first of which takes `slow`; how often each answered until it was found, if it was.
    fn found_after(slow: u64, rule: SlowRule) -> Option<u32> {
        let (backends, service) = ([const { Atomic64::new(0) }; 5], Atomic64::new(0));
        (1..1_000).find(|_| {
            backends.iter().enumerate().any(|(number, backend)| {
                let is_slow = is_slow(backend, &service, rule, if number == 0 { slow } else { MS / 4 });
                assert!(!is_slow || number == 0);
                is_slow
            })
        })
    }

    #[test]
    fn one_that_is_slow_by_20_ms_is_found_within_some_tens_of_its_answers() {
        // The first answer of all is a slow one, so the Service's median comes down from there.
        assert!(found_after(20 * MS + MS / 4, RULE).is_some_and(|answers| answers <= 30));
        assert_eq!(found_after(4 * MS, RULE), None, "not slower by 5 ms");
        assert_eq!(found_after(20 * MS, SlowRule { percent: 0, least: 0 }), None, "off");
    }

    #[test]
    fn one_that_becomes_slow_is_found_and_one_that_is_forgotten_begins_anew() {
        let (backend, service) = (Atomic64::new(0), Atomic64::new(0));
        let quick = |service: &Atomic64| (0..4).for_each(|_| assert!(!is_slow(&Atomic64::new(0), service, RULE, MS)));
        let until_found = |backend: &Atomic64| {
            (1..100).find(|_| {
                quick(&service);
                is_slow(backend, &service, RULE, 21 * MS)
            })
        };
        quick(&service);
        let first = until_found(&backend).unwrap();
        assert!((10..=30).contains(&first), "{first}");
        forget(&backend);
        assert!((10..=30).contains(&until_found(&backend).unwrap()));
    }
}
