//! Of two random slots the one whose backend has fewer connections open for its weight: the power of two choices
//! (Mitzenmacher 2001).
//!
//! Slots are drawn by weight and loads are compared by weight, so an idle Service's shares are those of the weights, no
//! backend starves, and a backend that is slow to finish gets less.

/// A position other than `first` (below `len`), each with the same probability; `first` where there is no other. It takes
/// other bits than [`super::pick`] did: the low ones, spread over the word (Knuth's multiplicative hash).
#[inline(always)]
pub const fn rival(first: u32, random: u32, len: u32) -> u32 {
    if len < 2 {
        return first;
    }
    let step = 1 + super::scale(random.wrapping_mul(0x9e37_79b1), len - 1);
    super::next(first, step, len)
}

/// A backend's load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Connections open.
    pub active: u64,
    /// Its weight; 0 counts as 1.
    pub weight: u64,
}

/// Whether the rival has fewer connections open for its weight than the first. Of equals the first stays.
#[inline(always)]
pub const fn is_less_loaded(rival: Load, first: Load) -> bool {
    rival.active * first.parts() < first.active * rival.parts()
}

impl Load {
    /// The weight to multiply with. Counts and weights are both below 2^32: no product overflows.
    #[inline(always)]
    const fn parts(self) -> u64 {
        if self.weight == 0 { 1 } else { self.weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::Atomic64;
    use crate::select::random;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rival_is_another_where_there_is_one(first: u32, random: u32, len in 1u32..=u32::MAX) {
            let first = first % len;
            let rival = rival(first, random, len);
            prop_assert!(rival < len);
            prop_assert_eq!(rival == first, len == 1);
        }

        #[test]
        fn of_two_at_most_one_is_less_loaded(a in 0u64..1 << 40, b in 0u64..1 << 40, wa in 0u64..1 << 20, wb in 0u64..1 << 20) {
            let (a, b) = (Load { active: a, weight: wa }, Load { active: b, weight: wb });
            prop_assert!(!(is_less_loaded(a, b) && is_less_loaded(b, a)));
        }
    }

    /// Connections that never end: the counts are what the choices made of them.
    fn fill(weights: &[u64], slots: &[u32], connections: u32) -> Vec<u64> {
        let cursor = Atomic64::new(0);
        let mut active = vec![0u64; weights.len()];
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..connections {
            state = crate::select::mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let random = (state >> 32) as u32;
            let len = slots.len() as u32;
            let first = random::pick(&crate::select::Draw { random, cursor: &cursor, len, client: 0, port: 0 });
            let rival = slots[rival(first, random, len) as usize] as usize;
            let first = slots[first as usize] as usize;
            let load = |backend: usize| Load { active: active[backend], weight: weights[backend] };
            let chosen = if is_less_loaded(load(rival), load(first)) { rival } else { first };
            active[chosen] += 1;
        }
        active
    }

    #[test]
    fn open_connections_even_out() {
        let active = fill(&[1; 10], &(0..10).collect::<Vec<_>>(), 10_000);
        let (least, most) = (active.iter().min().unwrap(), active.iter().max().unwrap());
        assert!(most - least <= 4, "{active:?}"); // random choice: some 180 apart
    }

    #[test]
    fn open_connections_follow_the_weights() {
        let active = fill(&[3, 1], &[0, 1, 0, 0], 8_000);
        assert!(active[0].abs_diff(6_000) <= 8, "{active:?}");
    }
}
