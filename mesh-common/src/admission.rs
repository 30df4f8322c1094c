//! Taking and giving back slots: a limit of N means N.

use crate::atomic::Atomic64;
use crate::tables::UNLIMITED;

/// How often a lost race is tried again before the connection is refused. Each loss means that another processor got a
/// slot in between, so on P processors a connection is refused for this cause only when it loses P-way races in a row.
const TRIES: u32 = 32;

/// Why no slot was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// The count is at the limit.
    AtLimit,
    /// Every race was lost.
    Contended,
}

/// Takes one slot if fewer than `limit` are taken. The count never exceeds `limit`, not even for an instant.
#[inline(always)]
pub fn take(count: &Atomic64, limit: u64) -> Result<(), Full> {
    if limit == UNLIMITED {
        count.fetch_add(1);
        return Ok(());
    }
    let mut taken = count.load();
    for _ in 0..TRIES {
        if taken >= limit {
            return Err(Full::AtLimit);
        }
        match count.compare_exchange(taken, taken + 1) {
            Ok(_) => return Ok(()),
            Err(now) => taken = now,
        }
    }
    Err(Full::Contended)
}

/// As [`take`], with two tries: for trying one backend after the other, where a lost race may as well mean "the next".
#[inline(always)]
pub fn take_once(count: &Atomic64, limit: u64) -> bool {
    let taken = count.load();
    if taken >= limit {
        return false;
    }
    match count.compare_exchange(taken, taken + 1) {
        Ok(_) => true,
        Err(now) => now < limit && count.compare_exchange(now, now + 1).is_ok(),
    }
}

/// Gives one slot back. Whoever calls this holds one.
#[inline(always)]
pub fn give_back(count: &Atomic64) {
    count.fetch_sub(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    proptest! {
        #[test]
        fn a_count_follows_a_model_and_never_passes_the_limit(
            limit in 0u64..6,
            steps in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let count = Atomic64::new(0);
            let mut model = 0u64;
            for step in steps {
                if step {
                    let expected = if model < limit { model += 1; Ok(()) } else { Err(Full::AtLimit) };
                    prop_assert_eq!(take(&count, limit), expected);
                } else if model > 0 {
                    give_back(&count);
                    model -= 1;
                }
                prop_assert_eq!(count.load(), model);
            }
        }
    }

    #[test]
    fn a_lowered_limit_refuses_until_the_count_is_below_it() {
        let count = Atomic64::new(0);
        for _ in 0..5 {
            take(&count, UNLIMITED).unwrap();
        }
        assert_eq!(take(&count, 3), Err(Full::AtLimit));
        for _ in 0..3 {
            give_back(&count);
        }
        assert_eq!(take(&count, 3), Ok(()));
    }

    #[test]
    fn threads_never_hold_more_than_the_limit() {
        const LIMIT: u64 = 3;
        let count = Atomic64::new(0);
        let held = AtomicU64::new(0);
        let most = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if take(&count, LIMIT).is_ok() {
                            most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            held.fetch_sub(1, Ordering::SeqCst);
                            give_back(&count);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= LIMIT);
        assert_eq!(count.load(), 0);
    }
}
