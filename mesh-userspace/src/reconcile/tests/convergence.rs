//! Steps that fail at random are tried again until all is as it should be.

use super::harness::{Harness, cases};
use super::world::cluster;
use crate::plan::Sizes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Large enough for every cluster of these tests, with old and new side by side.
pub const ROOMY: Sizes = Sizes { frontends: 64, addresses: 16, services: 64, slots: 256, backends: 256 };

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn retries_converge_and_no_reader_is_led_astray(
        seeds in proptest::collection::vec(any::<u64>(), 1..6),
        turns in 0usize..6,
        seed: u64,
        fails_one_in in prop_oneof![Just(0u64), 2..40u64],
    ) {
        let mut harness = Harness::new(ROOMY, seed);
        harness.agent.maps_mut().fails_one_in = fails_one_in;
        for seed in seeds {
            harness.change(cluster(seed));
            for _ in 0..turns {
                harness.turn();
            }
        }
        harness.settle();
        harness.change(BTreeMap::new());
        harness.settle();
    }

    #[test]
    fn tables_that_are_too_small_lead_no_reader_astray_and_leak_nothing(
        seeds in proptest::collection::vec(any::<u64>(), 1..6),
        turns in 1usize..6,
        seed: u64,
        slots in 4u32..40,
        backends in 4u32..40,
        services in 3u32..16,
        frontends in 2u32..12,
    ) {
        let mut harness = Harness::new(Sizes { frontends, addresses: 4, services, slots, backends }, seed);
        for seed in seeds {
            harness.change(cluster(seed));
            for _ in 0..turns {
                harness.turn();
            }
        }
        harness.change(BTreeMap::new());
        harness.settle();
    }
}
