//! Each slot with the same probability.

use super::Draw;

/// Multiply-shift of 32 random bits.
#[inline(always)]
pub fn pick(draw: &Draw<'_>) -> u32 {
    super::scale(draw.random, draw.len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::Atomic64;

    #[test]
    fn each_slot_gets_its_share_of_all_draws() {
        let cursor = Atomic64::new(0);
        for len in [1u32, 2, 3, 7, 100] {
            let mut counts = vec![0u32; len as usize];
            let draws = 1 << 16;
            for i in 0..draws {
                counts[pick(&Draw { random: i << 16, cursor: &cursor, len, client: 0, port: 0 }) as usize] += 1;
            }
            let share = draws / len;
            assert!(counts.iter().all(|&c| c.abs_diff(share) <= 1), "{counts:?}");
        }
    }
}
