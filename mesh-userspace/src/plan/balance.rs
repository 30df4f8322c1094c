//! The policy's say in which of the eligible endpoints takes what part of the connections.

use super::eligible::{Here, Verdict, Why};
use crate::model::{Balance, Endpoint, Part};

/// Weights stay below this; more are scaled down together.
const MOST: u64 = 1_000_000;

/// The weight of each endpoint of one port against the others; 0 for those that take nothing, whose verdict says why.
/// Weights have no divisor in common, so that equal ones are 1.
pub fn weigh(balance: &Balance, endpoints: &[&Endpoint], verdicts: &mut [Verdict], here: Here<'_>) -> Vec<u32> {
    if balance.prefer_same_zone {
        prefer_zone(endpoints, verdicts, here);
    }
    let own = |endpoint: &Endpoint| {
        let matching = balance.weights.iter().find(|weight| weight.which.holds(endpoint));
        u64::from(matching.map_or(1, |matching| matching.weight))
    };
    let mut weights: Vec<u64> = endpoints
        .iter()
        .zip(&*verdicts)
        .map(|(endpoint, verdict)| if verdict.is_in() { own(endpoint) } else { 0 })
        .collect();
    let here_zone = |part: &&Part| part.from_zone.as_deref().is_none_or(|zone| zone == here.zone);
    let parts: Vec<&Part> = balance.split.iter().filter(here_zone).collect();
    split(&parts, endpoints, &mut weights);

    if weights.iter().all(|&weight| weight == 0) {
        // Nothing would take a connection: all that are eligible do, alike.
        return verdicts.iter().map(|verdict| u32::from(verdict.is_in())).collect();
    }
    for ((verdict, endpoint), weight) in verdicts.iter_mut().zip(endpoints).zip(&weights) {
        if verdict.is_in() && *weight == 0 {
            *verdict = Verdict::Out(if own(endpoint) == 0 { Why::NoWeight } else { Why::NoPart });
        }
    }
    reduced(&weights)
}

/// Zone first: while an endpoint in this node's zone takes connections, no other does.
fn prefer_zone(endpoints: &[&Endpoint], verdicts: &mut [Verdict], here: Here<'_>) {
    let is_near = |endpoint: &Endpoint| !here.zone.is_empty() && *endpoint.zone == *here.zone;
    if endpoints.iter().zip(&*verdicts).any(|(endpoint, verdict)| verdict.is_in() && is_near(endpoint)) {
        for (endpoint, verdict) in endpoints.iter().zip(verdicts) {
            if verdict.is_in() && !is_near(endpoint) {
                *verdict = Verdict::Out(Why::OtherZone);
            }
        }
    }
}

/// Each part gets its share of all, shared out by weight among its endpoints. The share of a part without endpoints goes
/// to the others, in proportion; where no part has any, nothing is split.
fn split(parts: &[&Part], endpoints: &[&Endpoint], weights: &mut [u64]) {
    let part_of = |endpoint: &Endpoint| parts.iter().position(|part| part.which.holds(endpoint));
    let mut totals = vec![0u64; parts.len()];
    for (endpoint, weight) in endpoints.iter().zip(&*weights) {
        if let Some(part) = part_of(endpoint) {
            totals[part] += weight;
        }
    }
    let filled = |part: usize| totals[part] > 0 && parts[part].percent > 0;
    if !(0..parts.len()).any(filled) {
        return;
    }
    // A common multiple, where it is a small number, gives whole weights.
    let scale = totals.iter().filter(|total| **total > 0).try_fold(1u64, |scale, &total| {
        let multiple = scale / gcd(scale, total) * total;
        (multiple <= MOST).then_some(multiple)
    });
    let scale = scale.unwrap_or(MOST);
    for (endpoint, weight) in endpoints.iter().zip(weights) {
        *weight = match part_of(endpoint) {
            Some(part) if totals[part] > 0 => u64::from(parts[part].percent) * scale * *weight / totals[part],
            _ => 0,
        };
    }
}

fn reduced(weights: &[u64]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |divisor, &weight| gcd(divisor, weight)).max(1);
    let most = weights.iter().max().map_or(0, |most| most / divisor);
    let scaled = |&weight: &u64| match weight / divisor {
        0 => 0,
        weight if most > MOST => (weight * MOST / most).max(1) as u32,
        weight => weight as u32,
    };
    weights.iter().map(scaled).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Weight, Which};
    use proptest::prelude::*;

    const HERE: Here<'_> = Here { node: "node-1", zone: "a" };

    fn endpoint(pod: &str, zone: &str) -> Endpoint {
        Endpoint {
            address: [10, 0, 0, 1].into(),
            ready: true,
            serving: true,
            terminating: false,
            node: "node-1".into(),
            zone: zone.into(),
            pod: pod.into(),
            hints: None,
        }
    }

    /// Three pods of `cart-v1-`, one of `cart-v2-`, in two zones.
    fn pods() -> Vec<Endpoint> {
        [("cart-v1-a", "a"), ("cart-v1-b", "a"), ("cart-v1-c", "b"), ("cart-v2-a", "b")]
            .map(|(pod, zone)| endpoint(pod, zone))
            .into()
    }

    fn judged(balance: &Balance, endpoints: &[Endpoint]) -> (Vec<u32>, Vec<Verdict>) {
        let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
        let mut verdicts = vec![Verdict::Ready; endpoints.len()];
        let weights = weigh(balance, &endpoints, &mut verdicts, HERE);
        (weights, verdicts)
    }

    fn part(prefix: &str, percent: u32) -> Part {
        Part { from_zone: None, which: Which::PodNamePrefix(prefix.into()), percent }
    }

    #[test]
    fn without_a_word_all_are_alike() {
        assert_eq!(judged(&Balance::default(), &pods()).0, [1, 1, 1, 1]);
    }

    #[test]
    fn a_split_is_of_all_connections_whatever_the_number_of_pods() {
        let canary = Balance { split: vec![part("cart-v1-", 90), part("cart-v2-", 10)], ..Balance::default() };
        assert_eq!(judged(&canary, &pods()).0, [3, 3, 3, 1]);
        // The stable pods go: the canary takes what is left. Nothing is in any part: all take.
        assert_eq!(judged(&canary, &pods()[3..]).0, [1]);
        assert_eq!(judged(&canary, &[endpoint("other", "a"), endpoint("another", "a")]).0, [1, 1]);
        let none = Balance { split: vec![part("cart-v1-", 100)], ..Balance::default() };
        let (weights, verdicts) = judged(&none, &pods());
        assert_eq!((weights, verdicts[3]), (vec![1, 1, 1, 0], Verdict::Out(Why::NoPart)));
    }

    #[test]
    fn a_part_may_be_for_clients_of_one_zone() {
        let zone = |from: &str, to: &str, percent| Part {
            from_zone: Some(from.into()),
            which: Which::Zone(to.into()),
            percent,
        };
        let balance =
            Balance { split: vec![zone("a", "a", 80), zone("a", "b", 20), zone("b", "b", 100)], ..Balance::default() };
        assert_eq!(judged(&balance, &pods()).0, [4, 4, 1, 1]);
    }

    #[test]
    fn the_zone_comes_first_while_it_has_endpoints() {
        let near = Balance { prefer_same_zone: true, ..Balance::default() };
        let (weights, verdicts) = judged(&near, &pods());
        assert_eq!((weights, verdicts[2]), (vec![1, 1, 0, 0], Verdict::Out(Why::OtherZone)));
        assert_eq!(judged(&near, &pods()[2..]).0, [1, 1]);
    }

    #[test]
    fn weight_0_takes_nothing_while_another_does() {
        let weight = |prefix: &str, weight| Weight { which: Which::PodNamePrefix(prefix.into()), weight };
        let balance = Balance { weights: vec![weight("cart-v2-", 0), weight("cart-v1-a", 4)], ..Balance::default() };
        let (weights, verdicts) = judged(&balance, &pods());
        assert_eq!((weights, verdicts[3]), (vec![4, 1, 1, 0], Verdict::Out(Why::NoWeight)));
        assert_eq!(judged(&balance, &pods()[3..]).0, [1]);
    }

    proptest! {
        #[test]
        fn each_part_gets_its_per_cent(
            percents in proptest::collection::vec(1u32..100, 1..5),
            pods in proptest::collection::vec((0usize..5, 1u32..10), 1..40),
        ) {
            let names: Vec<String> = (0..percents.len()).map(|part| format!("part-{part}-")).collect();
            let endpoints: Vec<Endpoint> =
                pods.iter().enumerate().map(|(i, (part, _))| endpoint(&format!("part-{}-{i}", part % percents.len()), "a")).collect();
            let weights = pods.iter().enumerate().map(|(i, (part, weight))| Weight {
                which: Which::PodNamePrefix(format!("part-{}-{i}", part % percents.len()).into()),
                weight: *weight,
            });
            let split = names.iter().zip(&percents).map(|(name, percent)| part(name, *percent)).collect();
            let balance = Balance { split, weights: weights.collect(), ..Balance::default() };
            let (weights, _) = judged(&balance, &endpoints);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let share = |part: usize| -> f64 {
                let own = weights.iter().zip(&pods).filter(|(_, pod)| pod.0 % percents.len() == part);
                own.map(|(weight, _)| f64::from(*weight)).sum::<f64>() / total
            };
            let filled: Vec<usize> = (0..percents.len()).filter(|part| pods.iter().any(|pod| pod.0 % percents.len() == *part)).collect();
            let whole: f64 = filled.iter().map(|&part| f64::from(percents[part])).sum();
            for part in filled {
                prop_assert!((share(part) - f64::from(percents[part]) / whole).abs() < 0.001);
            }
        }
    }
}
