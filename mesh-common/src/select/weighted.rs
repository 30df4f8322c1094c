//! Weights as slots: each backend has as many as its weight, and they are interleaved as evenly as they can be, so that
//! taking turns is smooth.

/// Most slots that weights may ask for; a Service with more backends has one each at least.
const MOST_SLOTS: usize = 1_024;

/// Which backend each slot says, for these weights. Weights are reduced by what divides them all; where they still ask for
/// more than 1,024 slots they are scaled down, to 1 at least where they are above 0. A weight of 0 gets no slot.
pub fn slots(weights: &[u32]) -> Vec<u32> {
    let counts = counts(weights);
    // Backend i's k-th slot of n is due at (2k + 1) / 2n of the way: the order of all by when they are due is the
    // earliest-deadline-first schedule of weighted round robin.
    let mut due: Vec<(u64, u32)> = Vec::with_capacity(counts.iter().sum());
    for (backend, &count) in counts.iter().enumerate() {
        due.extend((0..count as u64).map(|k| (((2 * k + 1) << 32) / (2 * count as u64), backend as u32)));
    }
    due.sort_unstable();
    due.into_iter().map(|(_, backend)| backend).collect()
}

fn counts(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |divisor, &weight| gcd(divisor, weight)).max(1);
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let most = MOST_SLOTS.max(weights.len()) as u64;
    let count = |&weight: &u32| {
        let weight = u64::from(weight / divisor);
        if total <= most || weight == 0 {
            weight as usize
        } else {
            ((weight * most + total / 2) / total).max(1) as usize
        }
    };
    weights.iter().map(count).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_are_as_many_as_the_weights_and_nobody_waits_long(weights in proptest::collection::vec(0u32..20, 1..20)) {
            let slots = slots(&weights);
            let total: u32 = weights.iter().sum();
            prop_assert_eq!(slots.is_empty(), total == 0);
            for (backend, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
                let at: Vec<usize> = (0..slots.len()).filter(|&slot| slots[slot] == backend as u32).collect();
                prop_assert_eq!(at.len() as u64 * u64::from(total), slots.len() as u64 * u64::from(weight));
                // Between two turns, the way round included, at most one lap of the smallest share and each other once more.
                let gaps = at.windows(2).map(|pair| pair[1] - pair[0]).chain([at[0] + slots.len() - at[at.len() - 1]]);
                let most = slots.len() / at.len() + 1 + weights.len();
                prop_assert!(gaps.max().unwrap() <= most, "{slots:?}");
            }
        }

        #[test]
        fn large_weights_are_scaled_and_nobody_is_left_out(weights in proptest::collection::vec(1u32..=1_000_000, 2..50)) {
            let slots = slots(&weights);
            prop_assert!(slots.len() <= MOST_SLOTS + weights.len());
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (backend, &weight) in weights.iter().enumerate() {
                let count = slots.iter().filter(|&&slot| slot == backend as u32).count();
                prop_assert!(count >= 1);
                let (share, wanted) = (count as f64 / slots.len() as f64, f64::from(weight) / total);
                prop_assert!((share - wanted).abs() < 0.05);
            }
        }
    }

    #[test]
    fn equal_weights_have_a_slot_each_in_order() {
        assert_eq!(slots(&[7, 7, 7]), [0, 1, 2]);
        assert_eq!(slots(&[0, 0]), Vec::<u32>::new());
    }

    #[test]
    fn turns_are_interleaved() {
        assert_eq!(slots(&[50, 10, 10]), [0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(slots(&[90, 10]), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
