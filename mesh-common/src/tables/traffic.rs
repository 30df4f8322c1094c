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
    /// Bits: [`OBSERVE`]. Written by: agent.
    pub flags: Atomic64,
    /// Most connections at once of each client, plus 1. Written by: agent.
    pub client_limit: Atomic64,
    /// What a new connection costs of the Service's rate, nanoseconds. Written by: agent.
    pub rate_cost: Atomic64,
    /// How far the rate may run ahead, nanoseconds. Written by: agent.
    pub rate_burst: Atomic64,
    /// What a new connection costs of its client's rate, nanoseconds. Written by: agent.
    pub client_rate_cost: Atomic64,
    /// How far a client's rate may run ahead, nanoseconds. Written by: agent.
    pub client_rate_burst: Atomic64,
    /// The time until which the Service's rate is spent. Written by: programs.
    pub spent_until: Atomic64,
    /// Most flows at once of each client, plus 1. Written by: agent.
    pub flow_limit: Atomic64,
    /// After which time without a datagram a flow counts no more, nanoseconds. Written by: agent.
    pub flow_idle: Atomic64,
    /// The median time to the first answer of all backends, nanoseconds, where [`super::SlowRule`] asks for it; 0 for
    /// unknown. Written by: programs; agent where nothing refers to it.
    pub answer: Atomic64,
    /// Zero.
    pub _reserved: [Atomic64; 2],
}

/// Limits count what they would have refused, and refuse nothing.
pub const OBSERVE: u64 = 1;

const _: () = assert!(size_of::<Traffic>() == 128);

/// What an entry of [`Traffic`] says, as plain values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TrafficRule {
    /// Slow start; `None` for none.
    pub slow_start: Option<SlowStart>,
    /// Whether limits only count.
    pub observe: bool,
    /// Most connections at once of each client; `None` for no limit.
    pub client_limit: Option<u64>,
    /// New connections to the Service over time; `None` for no limit.
    pub rate: Option<Rate>,
    /// New connections of each client over time; `None` for no limit.
    pub client_rate: Option<Rate>,
    /// Flows of each client; `None` for no limit.
    pub flows: Option<FlowLimit>,
}

/// Most flows at once of each client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowLimit {
    /// So many, 0 to [`crate::flows::MOST`].
    pub most: u32,
    /// After which time without a datagram a flow counts no more, nanoseconds, 1 or more.
    pub idle: u64,
}

/// A rate of new connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Nanoseconds between two connections at the rate, 1 or more.
    pub cost: u64,
    /// By how many nanoseconds it may run ahead: `cost` for each connection of a burst.
    pub burst: u64,
}

impl Rate {
    /// So many connections a second, and so many at once after a pause. Rounded so that it is never more than that.
    pub const fn per_second(connections: u32, burst: u32) -> Self {
        let connections = if connections == 0 { 1 } else { connections };
        let cost = 1_000_000_000u64.div_ceil(connections as u64);
        Self { cost, burst: cost * if burst == 0 { 1 } else { burst as u64 } }
    }

    /// How many connections a second that is, to the next whole number.
    pub const fn connections(&self) -> u64 {
        (1_000_000_000 + self.cost / 2) / self.cost
    }

    /// How many connections may come at once.
    pub const fn at_once(&self) -> u64 {
        self.burst / self.cost
    }

    fn of(cost: &Atomic64, burst: &Atomic64) -> Option<Self> {
        let rate = Self { cost: cost.load(), burst: burst.load() };
        (rate.cost > 0).then_some(rate)
    }

    /// Writes both words. Who reads one of the old rate and one of the new may come as often at once as one of the two says,
    /// and no more: a burst below the cost counts as one connection.
    fn store(rate: Option<Self>, cost: &Atomic64, burst: &Atomic64) {
        let rate = rate.unwrap_or(Self { cost: 0, burst: 0 });
        let old = cost.load();
        if rate.cost == 0 || (old != 0 && rate.cost > old) {
            cost.store(rate.cost);
            burst.store(rate.burst);
        } else {
            burst.store(rate.burst);
            cost.store(rate.cost);
        }
    }
}

impl FlowLimit {
    fn of(limit: &Atomic64, idle: &Atomic64) -> Option<Self> {
        let most = limit.load().checked_sub(1)?;
        Some(Self { most: most as u32, idle: idle.load() })
    }
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
            flags: Atomic64::new(0),
            client_limit: Atomic64::new(0),
            rate_cost: Atomic64::new(0),
            rate_burst: Atomic64::new(0),
            client_rate_cost: Atomic64::new(0),
            client_rate_burst: Atomic64::new(0),
            spent_until: Atomic64::new(0),
            flow_limit: Atomic64::new(0),
            flow_idle: Atomic64::new(0),
            answer: Atomic64::new(0),
            _reserved: [const { Atomic64::new(0) }; 2],
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
        // Whoever only observes begins to before the limits change, and ends after.
        if rule.observe {
            self.flags.store(OBSERVE);
        }
        let slow_start = rule.slow_start.unwrap_or(SlowStart { window: 0, from: 0, ramp: [0; PARTS] });
        self.slow_start_from.store(slow_start.from.into());
        for (word, parts) in self.slow_start_ramp.iter().zip(slow_start.ramp.chunks(4)) {
            word.store(parts.iter().rev().fold(0, |word, &part| word << 16 | u64::from(part)));
        }
        self.slow_start_window.store(slow_start.window);
        self.client_limit.store(rule.client_limit.map_or(0, |limit| limit.saturating_add(1)));
        Rate::store(rule.rate, &self.rate_cost, &self.rate_burst);
        Rate::store(rule.client_rate, &self.client_rate_cost, &self.client_rate_burst);
        self.flow_idle.store(rule.flows.map_or(0, |flows| flows.idle));
        self.flow_limit.store(rule.flows.map_or(0, |flows| u64::from(flows.most) + 1));
        self.flags.store(if rule.observe { OBSERVE } else { 0 });
    }

    /// What the words say.
    pub fn load(&self) -> TrafficRule {
        let window = self.slow_start_window.load();
        let slow_start = SlowStart { window, from: self.slow_start_from.load() as u16, ramp: self.ramp() };
        TrafficRule {
            slow_start: (window > 0).then_some(slow_start),
            observe: self.flags.load() & OBSERVE != 0,
            client_limit: self.client_limit.load().checked_sub(1),
            rate: Rate::of(&self.rate_cost, &self.rate_burst),
            client_rate: Rate::of(&self.client_rate_cost, &self.client_rate_burst),
            flows: FlowLimit::of(&self.flow_limit, &self.flow_idle),
        }
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
        fn what_is_stored_is_loaded(
            window in 0u64..1 << 52,
            from: u16,
            ramp: [u16; PARTS],
            observe: bool,
            client_limit in proptest::option::of(0u64..9),
            flows in proptest::option::of((0u32..9, 1u64..9)),
            rates in (proptest::option::of((1u32..9, 0u32..9)), proptest::option::of((1u32..9, 0u32..9))),
        ) {
            let rate = |(connections, burst)| Rate::per_second(connections, burst);
            let rule = TrafficRule {
                slow_start: (window > 0).then_some(SlowStart { window, from, ramp }),
                observe,
                client_limit,
                rate: rates.0.map(rate),
                client_rate: rates.1.map(rate),
                flows: flows.map(|(most, idle)| FlowLimit { most, idle }),
            };
            let entry = Traffic::new();
            entry.store(&rule);
            prop_assert_eq!(entry.load(), rule);
            entry.store(&TrafficRule::default());
            prop_assert_eq!(entry.load(), TrafficRule::default());
        }
    }

    #[test]
    fn while_a_rate_is_changed_nobody_is_let_through_whom_neither_allows_and_one_always_is() {
        // A word is written, and somebody reads both: each order of the words that `store` may choose.
        let rates =
            [(1, 1), (1, 9), (1_000, 1), (1_000, 50), (7, 3)].map(|(rate, burst)| Some(Rate::per_second(rate, burst)));
        for old in rates.into_iter().chain([None]) {
            for new in rates {
                let at_once = |rate: Option<Rate>| rate.map_or(u64::MAX, |rate| rate.at_once());
                let (old_words, new_words) = (old.unwrap_or(Rate { cost: 0, burst: 0 }), new.unwrap());
                let is_cost_first = old_words.cost != 0 && new_words.cost > old_words.cost;
                let half = if is_cost_first {
                    Rate { cost: new_words.cost, burst: old_words.burst }
                } else {
                    Rate { cost: old_words.cost, burst: new_words.burst }
                };
                let state = Atomic64::new(0);
                let taken = if half.cost == 0 {
                    u64::MAX
                } else {
                    (0..100).filter(|_| crate::rate::take(&state, 1 << 40, half.cost, half.burst).is_ok()).count()
                        as u64
                };
                assert!(taken >= 1 && taken <= at_once(old).max(at_once(new)), "{old:?} {new:?}: {taken}");
            }
        }
    }
}
