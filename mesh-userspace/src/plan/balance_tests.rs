//! What part of the connections each endpoint takes by a policy.

use super::*;
use crate::model::{Failover, Level, Locality, Preference, Weight, Which};
use proptest::prelude::*;

const HERE: Place<'_> = Place { zone: "a", ..Place::on("node-1") };

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
    let weights = weigh(balance, &endpoints, &mut verdicts, HERE, &Localities::new(), &vec![false; endpoints.len()]);
    (weights, verdicts)
}

fn part(prefix: &str, percent: u32) -> Part {
    Part { entry: 0, from: Locality::default(), which: Which::PodNamePrefix(prefix.into()), percent }
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
        entry: 0,
        from: Locality::of_zone(from.into()),
        which: Which::At(Locality::of_zone(to.into())),
        percent,
    };
    let balance =
        Balance { split: vec![zone("a", "a", 80), zone("a", "b", 20), zone("b", "b", 100)], ..Balance::default() };
    assert_eq!(judged(&balance, &pods()).0, [4, 4, 1, 1]);
}

#[test]
fn the_zone_comes_first_while_it_has_endpoints() {
    let near = Balance { prefer: vec![Preference::own(Level::Zone)], ..Balance::default() };
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

/// Six endpoints in three zones of two regions, two in each: `eu/a` (ours), `eu/b` and `us/c`; each zone is one node.
fn regions() -> (Vec<Endpoint>, Localities) {
    let zones = [("n-a", "eu", "a"), ("n-b", "eu", "b"), ("n-c", "us", "c")];
    let endpoints = zones.iter().flat_map(|(node, _, zone)| {
        (0..2).map(move |i| Endpoint { node: (*node).into(), ..endpoint(&format!("{zone}-{i}"), zone) })
    });
    let locality = |region: &str, zone: &str| Locality { region: region.into(), zone: zone.into(), subzone: "".into() };
    let localities = zones.iter().map(|(node, region, zone)| ((*node).into(), locality(region, zone)));
    (endpoints.collect(), localities.collect())
}

/// The weights of those, without the ones that are not ready; at a node in this region and zone.
fn weights(balance: &Balance, here: (&str, &str), ready: &[usize]) -> (Vec<u32>, Vec<Verdict>) {
    weights_with(balance, here, ready, &[false; 6])
}

fn weights_with(
    balance: &Balance,
    (region, zone): (&str, &str),
    ready: &[usize],
    ejected: &[bool],
) -> (Vec<u32>, Vec<Verdict>) {
    let (endpoints, localities) = regions();
    let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
    let verdict = |i| if ready.contains(&i) { Verdict::Ready } else { Verdict::Out(Why::NotReady) };
    let mut verdicts: Vec<Verdict> = (0..endpoints.len()).map(verdict).collect();
    let here = Place { region, zone, ..Place::on("n") };
    let weights = weigh(balance, &endpoints, &mut verdicts, here, &localities, ejected);
    (weights, verdicts)
}

const ALL: &[usize] = &[0, 1, 2, 3, 4, 5];

fn nearest(failover: &[(&str, &str)]) -> Balance {
    let failover = failover.iter().map(|(from, to)| Failover { from: (*from).into(), to: (*to).into() });
    Balance {
        prefer: [Level::Region, Level::Zone, Level::Subzone].map(Preference::own).into(),
        failover: failover.collect(),
        ..Balance::default()
    }
}

#[test]
fn zone_then_region_then_all_others() {
    let here = ("eu", "a");
    let (taken, verdicts) = weights(&nearest(&[]), here, ALL);
    assert_eq!(taken, [1, 1, 0, 0, 0, 0]);
    assert_eq!([verdicts[2], verdicts[4]], [Why::OtherZone, Why::OtherRegion].map(Verdict::Out));
    assert_eq!(weights(&nearest(&[]), here, &[1, 2, 3, 4, 5]).0, [0, 1, 0, 0, 0, 0], "one is enough");
    let (taken, verdicts) = weights(&nearest(&[]), here, &[2, 3, 4, 5]);
    assert_eq!((taken, verdicts[4]), (vec![0, 0, 1, 1, 0, 0], Verdict::Out(Why::OtherRegion)));
    assert_eq!(weights(&nearest(&[]), here, &[4, 5]).0, [0, 0, 0, 0, 1, 1]);
}

#[test]
fn of_other_regions_the_one_to_fail_over_to_comes_first() {
    // From the point of view of a third region.
    let here = ("ap", "x");
    assert_eq!(weights(&nearest(&[]), here, ALL).0, [1, 1, 1, 1, 1, 1]);
    let (taken, verdicts) = weights(&nearest(&[("eu", "us"), ("ap", "us"), ("ap", "eu")]), here, ALL);
    assert_eq!((taken, verdicts[0]), (vec![0, 0, 0, 0, 1, 1], Verdict::Out(Why::OtherFailover)));
    assert_eq!(weights(&nearest(&[("ap", "us")]), here, &[0, 1, 2]).0, [1, 1, 1, 0, 0, 0], "then all others");
    assert_eq!(weights(&nearest(&[("eu", "us")]), here, ALL).0, [1; 6], "it is another region's");
}

#[test]
fn where_regions_are_not_known_the_own_zone_comes_first_all_the_same() {
    assert_eq!(weights(&nearest(&[]), ("", "b"), ALL).0, [0, 0, 1, 1, 0, 0]);
    assert_eq!(weights(&nearest(&[]), ("", ""), ALL).0, [1; 6]);
    let (endpoints, _) = regions();
    let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
    let mut verdicts = vec![Verdict::Ready; 6];
    let here = Place { region: "us", zone: "c", ..Place::on("n") };
    assert_eq!(
        weigh(&nearest(&[]), &endpoints, &mut verdicts, here, &Localities::new(), &[false; 6]),
        [0, 0, 0, 0, 1, 1]
    );
}

#[test]
fn labels_may_name_a_place_of_their_own_and_end_at_the_node() {
    let by = |level, value: Option<&str>| Preference { level, value: value.map(Into::into) };
    let order = |prefer: Vec<Preference>| Balance { prefer, ..Balance::default() };
    let us_first = order(vec![by(Level::Region, Some("us")), by(Level::Zone, Some("c"))]);
    assert_eq!(weights(&us_first, ("eu", "a"), ALL).0, [0, 0, 0, 0, 1, 1]);
    assert_eq!(weights(&us_first, ("eu", "a"), &[0, 2]).0, [1, 0, 1, 0, 0, 0]);
    let (taken, verdicts) = weights(&order(vec![by(Level::Node, Some("n-b"))]), ("eu", "a"), ALL);
    assert_eq!((taken, verdicts[0]), (vec![0, 0, 1, 1, 0, 0], Verdict::Out(Why::FartherNode)));
}

#[test]
fn a_split_among_places_holds_by_the_first_entry_that_is_for_this_one() {
    let place = |written: [&str; 3]| {
        let [region, zone, subzone] = written.map(Into::into);
        Locality { region, zone, subzone }
    };
    let part = |entry, from, to: [&str; 3], percent| {
        let which = if to == [""; 3] { Which::Any } else { Which::At(place(to)) };
        Part { entry, from: place(from), which, percent }
    };
    let split = vec![
        part(0, ["eu", "a", ""], ["eu", "a", ""], 70),
        part(0, ["eu", "a", ""], ["eu", "", ""], 20),
        part(0, ["eu", "a", ""], ["", "", ""], 10),
        part(1, ["eu", "", ""], ["us", "", ""], 100),
        part(2, ["", "", ""], ["eu", "a", ""], 50),
        part(2, ["", "", ""], ["us", "c", ""], 50),
    ];
    let balance = Balance { split, ..Balance::default() };
    assert_eq!(weights(&balance, ("eu", "a"), ALL).0, [7, 7, 2, 2, 1, 1]);
    let (taken, verdicts) = weights(&balance, ("eu", "b"), ALL);
    assert_eq!((taken, verdicts[0]), (vec![0, 0, 0, 0, 1, 1], Verdict::Out(Why::NoPart)));
    assert_eq!(weights(&balance, ("ap", "x"), ALL).0, [1, 1, 0, 0, 1, 1]);
    // What a place without endpoints would take, the others do.
    assert_eq!(weights(&balance, ("eu", "a"), &[0, 1, 2, 3]).0, [7, 7, 2, 2, 0, 0]);
    let none = Balance { split: balance.split[..3].to_vec(), ..Balance::default() };
    assert_eq!(weights(&none, ("us", "c"), ALL).0, [1; 6], "nothing is said of that place");
}

#[test]
fn where_all_of_the_nearest_are_ejected_the_next_take_connections_besides() {
    let taken = |ready: &[usize], ejected: &[usize]| {
        let ejected: Vec<bool> = (0..6).map(|i| ejected.contains(&i)).collect();
        weights_with(&nearest(&[]), ("eu", "a"), ready, &ejected).0
    };
    assert_eq!(taken(ALL, &[0]), [1, 1, 0, 0, 0, 0], "one is left");
    assert_eq!(taken(ALL, &[0, 1]), [1, 1, 1, 1, 0, 0]);
    assert_eq!(taken(ALL, &[0, 1, 2]), [1, 1, 1, 1, 0, 0]);
    assert_eq!(taken(ALL, &[0, 1, 2, 3]), [1; 6]);
    assert_eq!(taken(&[1, 4, 5], &[1]), [0, 1, 0, 0, 1, 1]);
    assert_eq!(taken(ALL, ALL), [1, 1, 0, 0, 0, 0], "nobody is better");
}
