//! Which bits of `FILTER` are set, and for how many addresses.

use mesh_common::address::Address;
use mesh_common::tables::FilterBit;
use std::collections::{BTreeSet, HashMap};

/// The bits that are set, by number, with how many hash elements need each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterBits {
    needed: HashMap<u32, u32>,
    idle: BTreeSet<u32>,
}

/// The number of an address's bit: its word and its place in it.
fn number(address: &Address) -> u32 {
    let bit = FilterBit::of(address);
    bit.word * 64 + bit.mask.trailing_zeros()
}

impl FilterBits {
    /// The word and mask of a bit's number.
    pub fn bit(number: u32) -> FilterBit {
        FilterBit { word: number / 64, mask: 1 << (number % 64) }
    }

    /// Whether the address passes.
    pub fn passes(&self, address: &Address) -> bool {
        self.needed.contains_key(&number(address))
    }

    /// The address's bit was set.
    pub fn set(&mut self, address: &Address) {
        let bit = number(address);
        if *self.needed.entry(bit).or_default() == 0 {
            self.idle.insert(bit);
        }
    }

    /// The bit was cleared.
    pub fn clear(&mut self, bit: u32) {
        self.needed.remove(&bit);
        self.idle.remove(&bit);
    }

    /// One more hash element needs the address's bit.
    pub fn need(&mut self, address: &Address) {
        let bit = number(address);
        *self.needed.entry(bit).or_default() += 1;
        self.idle.remove(&bit);
    }

    /// One hash element less needs the address's bit.
    pub fn release(&mut self, address: &Address) {
        let bit = number(address);
        if let Some(needed) = self.needed.get_mut(&bit) {
            *needed = needed.saturating_sub(1);
            if *needed == 0 {
                self.idle.insert(bit);
            }
        }
    }

    /// Bits that are set and that nothing needs.
    pub fn idle(&self) -> Vec<u32> {
        self.idle.iter().copied().collect()
    }

    /// Bits that something needs.
    pub fn needed(&self) -> impl Iterator<Item = u32> {
        self.needed.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_bit_is_idle_when_the_last_that_needs_it_goes() {
        let address = Address::from(Ipv4Addr::new(10, 96, 0, 1));
        let mut bits = FilterBits::default();
        bits.set(&address);
        assert_eq!(bits.idle().len(), 1, "set, not yet needed");
        bits.need(&address);
        bits.need(&address);
        bits.release(&address);
        assert!(bits.idle().is_empty());
        bits.release(&address);
        let [bit] = bits.idle()[..] else { panic!("one idle bit") };
        assert_eq!(FilterBits::bit(bit), FilterBit::of(&address));
        bits.clear(bit);
        assert!(!bits.passes(&address));
    }
}
