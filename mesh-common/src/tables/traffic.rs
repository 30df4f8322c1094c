//! What the owner of a Service asks for beyond the limits and the rule in `SERVICES`.

use crate::atomic::Atomic64;
use crate::select::slow_start::{PARTS, Ramp};

/// Value of `TRAFFIC`, by account: two cache lines (128 bytes), touched only where [`super::Rule::traffic`] says so. A
/// word of 0 asks for nothing.
#[repr(C)]
#[derive(Debug)]
pub struct Traffic {
    /// How long a new backend takes less, nanoseconds below 2^52. Written by: agent.
    pub slow_start_window: Atomic64,
    /// The probability with which a backend of age 0 is accepted, in parts of 65,535. Written by: agent.
    pub slow_start_from: Atomic64,
    /// [`Ramp`], four to a word. Written by: agent.
    pub slow_start_ramp: [Atomic64; PARTS / 4],
    /// Zero.
    pub _reserved: [Atomic64; 12],
}

const _: () = assert!(size_of::<Traffic>() == 128);

/// What an entry of [`Traffic`] says, as plain values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TrafficRule {
    /// Slow start; `None` for none.
    pub slow_start: Option<SlowStart>,
}

/// How a new backend's share rises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlowStart {
    /// For how long, nanoseconds, 1 to 2^52 - 1.
    pub window: u64,
    /// The probability at age 0, in parts of 65,535.
    pub from: u16,
    /// The probabilities later.
    pub ramp: Ramp,
}

impl Traffic {
    /// An entry that asks for nothing.
    pub const fn new() -> Self {
        Self {
            slow_start_window: Atomic64::new(0),
            slow_start_from: Atomic64::new(0),
            slow_start_ramp: [const { Atomic64::new(0) }; PARTS / 4],
            _reserved: [const { Atomic64::new(0) }; 12],
        }
    }

    /// The ramp of the slow start.
    #[inline(always)]
    pub fn ramp(&self) -> Ramp {
        let [low, high] = [self.slow_start_ramp[0].load(), self.slow_start_ramp[1].load()];
        let part = |word: u64, at: u32| (word >> (16 * at)) as u16;
        [
            part(low, 0),
            part(low, 1),
            part(low, 2),
            part(low, 3),
            part(high, 0),
            part(high, 1),
            part(high, 2),
            part(high, 3),
        ]
    }

    /// Writes what a rule says, word by word: a reader may meet words of both for a moment, each of which makes sense.
    pub fn store(&self, rule: &TrafficRule) {
        let slow_start = rule.slow_start.unwrap_or(SlowStart { window: 0, from: 0, ramp: [0; PARTS] });
        self.slow_start_from.store(slow_start.from.into());
        for (word, parts) in self.slow_start_ramp.iter().zip(slow_start.ramp.chunks(4)) {
            word.store(parts.iter().rev().fold(0, |word, &part| word << 16 | u64::from(part)));
        }
        self.slow_start_window.store(slow_start.window);
    }

    /// What the words say.
    pub fn load(&self) -> TrafficRule {
        let window = self.slow_start_window.load();
        let slow_start = SlowStart { window, from: self.slow_start_from.load() as u16, ramp: self.ramp() };
        TrafficRule { slow_start: (window > 0).then_some(slow_start) }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_stored_is_loaded(window in 0u64..1 << 52, from: u16, ramp: [u16; PARTS]) {
            let rule = TrafficRule { slow_start: (window > 0).then_some(SlowStart { window, from, ramp }) };
            let entry = Traffic::new();
            entry.store(&rule);
            prop_assert_eq!(entry.load(), rule);
            entry.store(&TrafficRule::default());
            prop_assert_eq!(entry.load(), TrafficRule::default());
        }
    }
}
