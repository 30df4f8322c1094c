//! Ejection, by a model and under races.

use super::*;
use crate::tables::{OutlierRule, SlowRule};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const SLOW: SlowRule = SlowRule { percent: 300, least: 5 };

const RULE: OutlierRule = OutlierRule {
    thresholds: Thresholds { connects: 3, resets: 2, slow: SLOW },
    base_ejection: 1_000,
    max_ejection: 2_500,
    interval: 500,
    allowed: 1,
    ignored_above: 9,
};

fn entry(rule: OutlierRule) -> Outlier {
    let outlier = Outlier::new();
    outlier.store(&rule);
    outlier
}

fn fail(standing: &Atomic64, outlier: &Outlier, times: u32, now: u64) -> Recorded {
    (0..times).map(|_| record(standing, outlier, Outcome::ConnectFailed, now)).last().unwrap()
}

proptest! {
    #[test]
    fn a_packed_standing_keeps_its_parts(connects: u8, resets: u8, ejections: u8, until in 0..1u64 << 39, out: bool) {
        let standing = Standing { connects, resets, ejections, until, out };
        prop_assert_eq!(Standing::unpack(standing.pack()), standing);
    }

    #[test]
    fn whatever_happens_the_count_is_of_those_that_are_out_and_never_past_what_is_allowed(
        allowed in 0u64..4,
        connects in 0u8..4,
        resets in 0u8..4,
        steps in proptest::collection::vec((0usize..4, 0u8..8, 0u64..700), 0..300),
    ) {
        let outlier = entry(OutlierRule { allowed, thresholds: Thresholds { connects, resets, ..RULE.thresholds }, ..RULE });
        let backends: [Atomic64; 4] = [const { Atomic64::new(0) }; 4];
        let mut now = 1_000;
        for (which, step, passes) in steps {
            now += passes;
            let backend = &backends[which];
            let before = Standing::unpack(backend.load());
            let outcome = match step {
                0 => Outcome::ConnectFailed,
                1 => Outcome::Connected,
                2 => Outcome::Reset,
                3 => Outcome::Ended,
                4 => Outcome::Silent,
                5 => Outcome::Slow,
                6 => {
                    let out = is_out(backend, &outlier, now);
                    prop_assert_eq!(out, before.left(now) > 0);
                    continue;
                }
                _ => {
                    pardon(backend, &outlier);
                    prop_assert!(!is_out(backend, &outlier, now));
                    continue;
                }
            };
            let recorded = record(backend, &outlier, outcome, now);
            let after = Standing::unpack(backend.load());
            prop_assert_eq!(recorded == Recorded::Ejected, after.out && before.left(now) == 0);
            prop_assert!(after.left(now) <= RULE.max_ejection);
            let out = backends.iter().filter(|backend| Standing::unpack(backend.load()).out).count() as u64;
            prop_assert_eq!(outlier.ejected.load(), out);
            prop_assert!(out <= allowed);
        }
    }
}

#[test]
fn failures_in_a_row_eject_and_a_success_begins_anew() {
    let (outlier, backend) = (entry(RULE), Atomic64::new(0));
    assert_eq!(fail(&backend, &outlier, 2, 10), Recorded::Counted);
    record(&backend, &outlier, Outcome::Connected, 10);
    assert_eq!(fail(&backend, &outlier, 2, 10), Recorded::Counted);
    assert!(!is_out(&backend, &outlier, 10));
    assert_eq!(fail(&backend, &outlier, 1, 10), Recorded::Ejected);
    assert!(is_out(&backend, &outlier, 1_009));
    assert!(!is_out(&backend, &outlier, 1_010), "back by itself");
    assert_eq!(outlier.ejected.load(), 0);
}

#[test]
fn resets_are_counted_though_each_handshake_succeeds() {
    let (outlier, backend) = (entry(RULE), Atomic64::new(0));
    record(&backend, &outlier, Outcome::Connected, 10);
    assert_eq!(record(&backend, &outlier, Outcome::Reset, 10), Recorded::Counted);
    record(&backend, &outlier, Outcome::Connected, 10);
    record(&backend, &outlier, Outcome::Ended, 10);
    assert_eq!(record(&backend, &outlier, Outcome::Reset, 10), Recorded::Counted);
    record(&backend, &outlier, Outcome::Connected, 10);
    assert_eq!(record(&backend, &outlier, Outcome::Reset, 10), Recorded::Ejected);
}

#[test]
fn silence_is_of_the_row_of_resets_and_slow_answers_need_no_row() {
    let (outlier, backend) = (entry(RULE), Atomic64::new(0));
    assert_eq!(record(&backend, &outlier, Outcome::Silent, 10), Recorded::Counted);
    assert_eq!(record(&backend, &outlier, Outcome::Reset, 10), Recorded::Ejected);
    pardon(&backend, &outlier);
    assert_eq!(record(&backend, &outlier, Outcome::Slow, 10), Recorded::Ejected);
    let standing = Standing::unpack(backend.load());
    assert_eq!((standing.connects, standing.resets, standing.ejections), (0, 0, 2));
    // Not where nobody asks for it.
    let outlier = entry(OutlierRule { thresholds: Thresholds { connects: 3, ..Thresholds::default() }, ..RULE });
    let backend = Atomic64::new(0);
    assert_eq!(record(&backend, &outlier, Outcome::Slow, 10), Recorded::Counted);
}

#[test]
fn each_ejection_lasts_longer_up_to_the_most_and_is_forgotten_by_the_interval() {
    let (outlier, backend) = (entry(RULE), Atomic64::new(0));
    let mut now = 10;
    for expected in [1_000, 2_000, 2_500, 2_500] {
        assert_eq!(fail(&backend, &outlier, 3, now), Recorded::Ejected);
        let standing = Standing::unpack(backend.load());
        assert_eq!(standing.left(now), expected);
        now = standing.until;
    }
    // Four are remembered; three intervals forget three.
    now += 3 * RULE.interval;
    assert_eq!(fail(&backend, &outlier, 3, now), Recorded::Ejected);
    assert_eq!(Standing::unpack(backend.load()).left(now), 2_000);
}

#[test]
fn no_more_than_allowed_and_ignored_while_too_few_are_healthy() {
    let outlier = entry(RULE);
    let (one, other) = (Atomic64::new(0), Atomic64::new(0));
    assert_eq!(fail(&one, &outlier, 3, 10), Recorded::Ejected);
    assert_eq!(fail(&other, &outlier, 9, 10), Recorded::Crowded);
    assert!(!is_out(&other, &outlier, 10));
    // Once the first is met after its time, there is room.
    assert!(!is_out(&one, &outlier, 2_000));
    assert_eq!(fail(&other, &outlier, 1, 2_000), Recorded::Ejected);
    outlier.ignored_above.store(0);
    assert!(!is_out(&other, &outlier, 2_000), "ignored");
    outlier.ignored_above.store(1);
    assert!(is_out(&other, &outlier, 2_000));
    assert!(pardon(&other, &outlier) && !pardon(&other, &outlier));
    assert_eq!(outlier.ejected.load(), 0);
}

#[test]
fn threads_never_eject_more_than_allowed_and_lose_none() {
    const ALLOWED: u64 = 2;
    let outlier = entry(OutlierRule {
        allowed: ALLOWED,
        thresholds: Thresholds { connects: 1, resets: 1, slow: SLOW },
        base_ejection: 3,
        max_ejection: 9,
        ..RULE
    });
    let backends: [Atomic64; 6] = [const { Atomic64::new(0) }; 6];
    let clock = AtomicU64::new(10);
    thread::scope(|scope| {
        for thread in 0..6 {
            let (outlier, backends, clock) = (&outlier, &backends, &clock);
            scope.spawn(move || {
                for turn in 0..30_000 {
                    let now = clock.fetch_add(1, Ordering::SeqCst);
                    let backend = &backends[(turn * 7 + thread) % backends.len()];
                    record(backend, outlier, Outcome::ConnectFailed, now);
                    is_out(backend, outlier, now);
                    assert!(outlier.ejected.load() <= ALLOWED);
                }
            });
        }
    });
    let end = clock.load(Ordering::SeqCst) + 100;
    assert!(outlier.ejections.load() > 1_000);
    assert!(backends.iter().all(|backend| !is_out(backend, &outlier, end)));
    assert_eq!(outlier.ejected.load(), 0);
}
