//! The agent is killed between any two steps; the next one takes over.

use super::convergence::ROOMY;
use super::harness::{Harness, cases};
use super::world::cluster;
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn an_agent_that_was_killed_anywhere_is_taken_over(
        before in proptest::collection::vec(any::<u64>(), 0..3),
        during: u64,
        after: u64,
        turns in 0usize..5,
        steps in 0u64..60,
        seed: u64,
    ) {
        let mut harness = Harness::new(ROOMY, seed);
        for seed in before {
            harness.change(cluster(seed));
            for _ in 0..3 {
                harness.turn();
            }
        }
        harness.agent.maps_mut().killed_after = Some(steps);
        harness.change(cluster(during));
        for _ in 0..turns {
            harness.turn();
        }
        let mut harness = harness.restart();
        harness.turn();
        harness.change(cluster(after));
        harness.settle();
    }
}
