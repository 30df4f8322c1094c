//! Each slot in turn.

use super::Draw;

/// The turn counter counts every pick of this node, so two clients alternate as one does.
#[inline(always)]
pub fn pick(draw: &Draw<'_>) -> u32 {
    // `len` is 1 at least; the compiler does not know, and a panic that looks reachable is refused by the verifier.
    (draw.cursor.fetch_add(1) % u64::from(draw.len.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::Atomic64;

    #[test]
    fn slots_take_turns() {
        let cursor = Atomic64::new(0);
        let picks: Vec<_> =
            (0..7).map(|_| pick(&Draw { random: 9, cursor: &cursor, len: 3, client: 0, port: 0 })).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0]);
    }
}
