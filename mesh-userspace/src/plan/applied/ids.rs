//! Which indices of a table are free. 0 is never given out.

use std::collections::BTreeSet;

/// The free indices of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Entries in the table, index 0 included.
    size: u32,
    /// Free indices below `next`; the last is given out first.
    free: Vec<u32>,
    /// From here on all are free.
    next: u32,
}

impl Ids {
    /// All indices of a table of `size` entries are free, but 0 and those in `taken`.
    pub fn new(size: u32, taken: &BTreeSet<u32>) -> Self {
        let next = taken.last().map_or(1, |last| last + 1);
        // Low indices first: tables that are dense touch fewer pages.
        let free = (1..next).rev().filter(|id| !taken.contains(id)).collect();
        Self { size, free, next }
    }

    /// The free index that is given out after `n` others; `None` when the table is full by then.
    pub fn nth(&self, n: u32) -> Option<u32> {
        let returned = self.free.len();
        match (n as usize).checked_sub(returned) {
            None => Some(self.free[returned - 1 - n as usize]),
            Some(beyond) => self.next.checked_add(u32::try_from(beyond).ok()?).filter(|&id| id < self.size),
        }
    }

    /// Takes an index that is free.
    pub fn take(&mut self, id: u32) {
        if id >= self.next {
            self.free.extend((self.next..id).rev());
            self.next = id + 1;
        } else if let Some(position) = self.free.iter().rposition(|&free| free == id) {
            self.free.remove(position);
        }
    }

    /// Gives back an index that was taken.
    pub fn give_back(&mut self, id: u32) {
        self.free.push(id);
    }

    /// From here on all are free.
    pub fn reach(&self) -> u32 {
        self.next
    }

    /// Indices that are taken.
    pub fn taken(&self) -> u32 {
        self.next - 1 - self.free.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_index_has_one_holder(steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..200)) {
            let mut ids = Ids::new(16, &BTreeSet::from([3, 7]));
            let mut held = BTreeSet::from([3, 7]);
            for (take, choice) in steps {
                if take {
                    let free = 15 - held.len() as u32;
                    prop_assert_eq!(ids.nth(free), None);
                    let Some(id) = ids.nth(u32::from(choice) % free.max(1)) else { continue };
                    prop_assert!(id != 0 && id < 16 && held.insert(id));
                    ids.take(id);
                } else if let Some(&id) = held.iter().nth(usize::from(choice) % held.len().max(1)) {
                    held.remove(&id);
                    ids.give_back(id);
                }
                prop_assert_eq!(ids.taken() as usize, held.len());
            }
        }
    }

    #[test]
    fn low_indices_come_first_and_each_once() {
        let ids = Ids::new(8, &BTreeSet::from([2, 4]));
        let order: Vec<_> = (0..).map_while(|n| ids.nth(n)).collect();
        assert_eq!(order, [1, 3, 5, 6, 7]);
    }
}
