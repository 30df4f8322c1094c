//! Which ranges of `SLOTS` are free: best fit, neighbours merged.

use mesh_common::tables::SlotRange;
use std::collections::{BTreeMap, BTreeSet};

/// The free ranges of the slot arena.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arena {
    /// Free ranges: base to length; never empty, never touching each other.
    by_base: BTreeMap<u32, u32>,
    /// The same ranges as (length, base).
    by_len: BTreeSet<(u32, u32)>,
    /// Positions in all.
    size: u32,
    /// Free positions in all.
    free: u32,
}

impl Arena {
    /// An arena of `size` free positions.
    pub fn new(size: u32) -> Self {
        let mut arena = Self { by_base: BTreeMap::new(), by_len: BTreeSet::new(), size, free: 0 };
        arena.give_back(SlotRange { base: 0, len: size });
        arena
    }

    /// The position after the last that is taken.
    pub fn reach(&self) -> u32 {
        let last = self.by_base.last_key_value().filter(|(base, len)| *base + *len == self.size);
        last.map_or(self.size, |(base, _)| *base)
    }

    /// Free positions in all.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// The longest free range.
    pub fn largest(&self) -> u32 {
        self.by_len.last().map_or(0, |&(len, _)| len)
    }

    /// The smallest free range that holds `len` (at least 1) besides what was `found` before and is not yet taken.
    pub fn find(&self, len: u32, found: &[SlotRange]) -> Option<SlotRange> {
        self.by_len.range((len, 0)..).find_map(|&(free, base)| {
            // What was found in this range lies at its front, one after the other.
            let inside = |range: &&SlotRange| range.base >= base && range.base - base < free;
            let used: u32 = found.iter().filter(inside).map(|range| range.len).sum();
            (free - used >= len).then_some(SlotRange { base: base + used, len })
        })
    }

    /// Takes a range; `false`, and nothing taken, when a part of it is not free.
    pub fn take(&mut self, range: SlotRange) -> bool {
        if range.len == 0 {
            return true;
        }
        let Some((&base, &len)) = self.by_base.range(..=range.base).next_back() else { return false };
        let before = range.base - base;
        let Some(after) = len.checked_sub(before).and_then(|rest| rest.checked_sub(range.len)) else { return false };
        self.remove(base, len);
        self.insert(base, before);
        self.insert(range.base + range.len, after);
        true
    }

    /// Gives back a range that was taken.
    pub fn give_back(&mut self, range: SlotRange) {
        if range.len == 0 {
            return;
        }
        let (mut base, mut len) = (range.base, range.len);
        if let Some((&left, &left_len)) = self.by_base.range(..base).next_back()
            && left + left_len == base
        {
            self.remove(left, left_len);
            (base, len) = (left, left_len + len);
        }
        if let Some(&right_len) = self.by_base.get(&(base + len)) {
            self.remove(base + len, right_len);
            len += right_len;
        }
        self.insert(base, len);
    }

    fn insert(&mut self, base: u32, len: u32) {
        if len > 0 {
            self.by_base.insert(base, len);
            self.by_len.insert((len, base));
            self.free += len;
        }
    }

    fn remove(&mut self, base: u32, len: u32) {
        self.by_base.remove(&base);
        self.by_len.remove(&(len, base));
        self.free -= len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(base: u32, len: u32) -> SlotRange {
        SlotRange { base, len }
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_all_comes_back(steps in proptest::collection::vec((1u32..20, any::<u16>()), 1..200)) {
            let mut arena = Arena::new(128);
            let mut held: Vec<SlotRange> = Vec::new();
            for (len, choice) in steps {
                if choice % 3 == 0 && !held.is_empty() {
                    arena.give_back(held.swap_remove(usize::from(choice) % held.len()));
                } else if let Some(found) = arena.find(len, &[]) {
                    prop_assert!(held.iter().all(|h| h.base + h.len <= found.base || found.base + len <= h.base));
                    prop_assert!(found.base + found.len <= 128);
                    prop_assert!(arena.take(found));
                    prop_assert!(!arena.take(found), "taken twice");
                    held.push(found);
                } else {
                    prop_assert!(arena.largest() < len);
                }
                prop_assert_eq!(arena.free() + held.iter().map(|h| h.len).sum::<u32>(), 128);
            }
            for h in held {
                arena.give_back(h);
            }
            prop_assert_eq!(arena, Arena::new(128));
        }
    }

    #[test]
    fn the_best_fit_leaves_the_large_ranges_whole() {
        let mut arena = Arena::new(100);
        for taken in [range(0, 10), range(14, 6), range(20, 10)] {
            assert!(arena.take(taken));
        }
        assert_eq!(arena.find(3, &[]), Some(range(10, 3)));
        assert_eq!(arena.find(5, &[]), Some(range(30, 5)));
    }

    #[test]
    fn what_was_found_before_is_not_found_again() {
        let arena = Arena::new(10);
        let first = arena.find(4, &[]).unwrap();
        let second = arena.find(4, &[first]).unwrap();
        assert_eq!((first, second), (range(0, 4), range(4, 4)));
        assert_eq!(arena.find(4, &[first, second]), None);
        assert_eq!(arena.find(2, &[first, second]), Some(range(8, 2)));
    }
}
