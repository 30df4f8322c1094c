//! What a Service and its slices become.

use super::*;
use crate::model::{
    Balance, Drain, EndpointPort, InternalTrafficPolicy, Kind, Lifetime, Limits, Locality, Part, PortPolicy,
    ServiceKey, TrafficDistribution, Weight, Which,
};
use mesh_common::address::Protocol;
use mesh_common::select::Algorithm;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const HERE: Place<'_> = Place::on("node-1");
static NOWHERE: Localities = Localities::new();

fn service(ports: &[(&str, Protocol, u16)]) -> Service {
    let port = |&(name, protocol, port): &(&str, Protocol, u16)| ServicePort {
        name: name.into(),
        protocol,
        port,
        node_port: None,
    };
    Service {
        key: ServiceKey::new("shop", "cart"),
        cluster_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_ips: Vec::new(),
        health_check_port: None,
        ports: ports.iter().map(port).collect(),
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::None,
        session_affinity: None,
        ignored: None,
        created: "".into(),
        drain: Drain::ByProtocol,
    }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        ready: true,
        serving: true,
        terminating: false,
        node: "node-1".into(),
        zone: "".into(),
        pod: "".into(),
        hints: None,
    }
}

fn slice(name: &str, ports: &[(&str, Protocol, u16)], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let port = |&(name, protocol, port): &(&str, Protocol, u16)| EndpointPort { name: name.into(), protocol, port };
    EndpointSlice {
        name: name.into(),
        service: ServiceKey::new("shop", "cart"),
        v6: endpoints.first().is_some_and(|endpoint| endpoint.address.is_ipv6()),
        ports: ports.iter().map(port).collect(),
        endpoints,
    }
}

fn view<'a>(service: &'a Service, addresses: &'a [IpAddr], slices: &'a [EndpointSlice]) -> ServiceView<'a> {
    ServiceView { service, addresses, externals: &[], slices, policy: None, localities: &NOWHERE, ejected: None }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn shown(backends: &[BackendKey]) -> Vec<String> {
    backends.iter().map(|backend| format!("{}:{}/{}", backend.address, backend.port, backend.protocol)).collect()
}

use Protocol::{Tcp, Udp};

#[test]
fn s09_target_ports_may_differ_between_slices() {
    let service = service(&[("http", Tcp, 80)]);
    let slices = [
        slice("a", &[("http", Tcp, 8080)], vec![endpoint("10.0.0.1")]),
        slice("b", &[("http", Tcp, 9090), ("other", Tcp, 1)], vec![endpoint("10.0.0.2")]),
    ];
    let desired = compile(view(&service, &ips(&["10.96.0.1"]), &slices), HERE).unwrap();
    assert_eq!(desired.ports.len(), 1);
    assert_eq!(shown(&desired.ports[0].slots), ["10.0.0.1:8080/TCP", "10.0.0.2:9090/TCP"]);
    assert_eq!(format!("{:?}", desired.ports[0].frontends), "[10.96.0.1:80/TCP]");
}

#[test]
fn s09_duplicates_are_removed_and_the_more_useful_one_believed() {
    let service = service(&[("", Tcp, 80)]);
    let stale = Endpoint { ready: false, serving: false, terminating: true, ..endpoint("10.0.0.1") };
    for endpoints in [[stale.clone(), endpoint("10.0.0.1")], [endpoint("10.0.0.1"), stale]] {
        let [a, b] = endpoints;
        let slices = [slice("a", &[("", Tcp, 80)], vec![a]), slice("b", &[("", Tcp, 80)], vec![b])];
        let addresses = ips(&["10.96.0.1"]);
        let view = view(&service, &addresses, &slices);
        let desired = compile(view, HERE).unwrap();
        assert_eq!(shown(&desired.ports[0].slots), ["10.0.0.1:80/TCP"]);
        assert!(desired.ports[0].kept.is_empty());
        let mut verdicts: Vec<_> =
            ports(view, HERE).flat_map(|port| port.candidates).map(|candidate| candidate.verdict.name()).collect();
        verdicts.sort_unstable();
        assert_eq!(verdicts, ["duplicate", "ready"]);
    }
}

#[test]
fn s10_no_endpoints_is_a_frontend_that_refuses() {
    let service = service(&[("a", Tcp, 80), ("b", Udp, 80)]);
    let desired = compile(view(&service, &ips(&["10.96.0.1"]), &[]), HERE).unwrap();
    assert_eq!(desired.ports.len(), 2);
    assert!(desired.ports.iter().all(|port| port.slots.is_empty() && port.frontends.len() == 1));
}

#[test]
fn s11_every_address_of_the_service_is_its_own() {
    let service = service(&[("", Tcp, 80)]);
    let desired = compile(view(&service, &ips(&["10.96.0.1", "fd00::1"]), &[]), HERE).unwrap();
    assert_eq!(desired.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.1", "fd00::1"]);
    assert_eq!(compile(view(&service, &[], &[]), HERE), None);
}

#[test]
fn s25_each_family_has_its_own_endpoints() {
    let service = service(&[("", Tcp, 80)]);
    let slices = [
        slice("a", &[("", Tcp, 80)], vec![endpoint("10.0.0.1")]),
        slice("b", &[("", Tcp, 80)], vec![endpoint("fd01::1")]),
    ];
    let desired = compile(view(&service, &ips(&["fd00::1", "10.96.0.1"]), &slices), HERE).unwrap();
    let ports: Vec<_> =
        desired.ports.iter().map(|port| (format!("{:?}", port.frontends), shown(&port.slots))).collect();
    assert_eq!(
        ports,
        [
            ("[10.96.0.1:80/TCP]".to_owned(), vec!["10.0.0.1:80/TCP".to_owned()]),
            ("[[fd00::1]:80/TCP]".to_owned(), vec!["fd01::1:80/TCP".to_owned()]),
        ]
    );
}

#[test]
fn s26_tcp_and_udp_on_one_port_are_separate() {
    let service = service(&[("dns", Udp, 53), ("dns-tcp", Tcp, 53)]);
    let slices = [slice("a", &[("dns", Udp, 5353), ("dns-tcp", Tcp, 5354)], vec![endpoint("10.0.0.1")])];
    let desired = compile(view(&service, &ips(&["10.96.0.1"]), &slices), HERE).unwrap();
    assert_eq!(shown(&desired.ports[0].slots), ["10.0.0.1:5353/UDP"]);
    assert_eq!(shown(&desired.ports[1].slots), ["10.0.0.1:5354/TCP"]);
    let gone = [0, 1].map(|port: usize| desired.ports[port].endings.gone);
    assert_eq!(gone, [Some(Duration::ZERO), None], "SEMANTICS 31");
}

#[test]
fn s02_a_backend_that_serves_on_is_kept() {
    let service = service(&[("", Tcp, 80)]);
    let terminating = Endpoint { ready: false, terminating: true, ..endpoint("10.0.0.2") };
    let dead = Endpoint { ready: false, serving: false, terminating: true, ..endpoint("10.0.0.3") };
    let slices = [slice("a", &[("", Tcp, 80)], vec![endpoint("10.0.0.1"), terminating, dead])];
    let desired = compile(view(&service, &ips(&["10.96.0.1"]), &slices), HERE).unwrap();
    assert_eq!(shown(&desired.ports[0].slots), ["10.0.0.1:80/TCP"]);
    assert_eq!(shown(&desired.ports[0].kept), ["10.0.0.2:80/TCP"]);
}

#[test]
fn a_policy_sets_limits_and_algorithm() {
    let mut service = service(&[("", Tcp, 80)]);
    service.drain = Drain::End;
    let policy = Policy {
        limits: Limits { max_connections: Some(10), ..Limits::default() },
        algorithm: Some(Algorithm::RoundRobin),
        ..Policy::asking_nothing(Kind::TrafficPolicy, "shop", "p")
    };
    let addresses = ips(&["10.96.0.1"]);
    let desired = compile(ServiceView { policy: Some(&policy), ..view(&service, &addresses, &[]) }, HERE).unwrap();
    assert_eq!((desired.max_connections, desired.max_connections_per_backend), (10, UNLIMITED));
    assert_eq!(desired.ports[0].algorithm, Algorithm::RoundRobin);
    assert_eq!(desired.ports[0].endings.gone, Some(Duration::ZERO));
}

#[test]
fn a_port_that_a_policy_lists_has_what_is_said_there_and_no_more() {
    let service = service(&[("a", Tcp, 80), ("b", Tcp, 81), ("c", Tcp, 82)]);
    let random = PortPolicy { algorithm: Some(Algorithm::Random), ..PortPolicy::default() };
    let policy = Policy {
        algorithm: Some(Algorithm::RoundRobin),
        ports: [(80, random), (81, PortPolicy::default())].into(),
        ..Policy::asking_nothing(Kind::DestinationRule, "shop", "p")
    };
    let addresses = ips(&["10.96.0.1"]);
    let desired = compile(ServiceView { policy: Some(&policy), ..view(&service, &addresses, &[]) }, HERE).unwrap();
    let algorithms: Vec<_> = desired.ports.iter().map(|port| port.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Random, Algorithm::default(), Algorithm::RoundRobin]);
}

#[test]
fn connections_end_as_the_port_says_and_only_those_of_tcp_for_their_age_or_idleness() {
    let mut service = service(&[("a", Tcp, 80), ("b", Tcp, 81), ("c", Udp, 82)]);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let listed = PortPolicy { lifetime: Lifetime { idle: None, longest: seconds(9) }, ..PortPolicy::default() };
    let policy = Policy {
        drain: Drain::EndAfter(Duration::from_secs(30)),
        lifetime: Lifetime { idle: seconds(5), longest: None },
        ports: [(81, listed)].into(),
        ..Policy::asking_nothing(Kind::DestinationRule, "shop", "p")
    };
    let addresses = ips(&["10.96.0.1"]);
    let endings = |service: &Service| -> Vec<Endings> {
        let view = ServiceView { policy: Some(&policy), ..view(service, &addresses, &[]) };
        compile(view, HERE).unwrap().ports.iter().map(|port| port.endings).collect()
    };
    let gone = seconds(30);
    let expected = [
        Endings { gone, idle: seconds(5), longest: None },
        Endings { gone, idle: None, longest: seconds(9) },
        Endings { gone, idle: None, longest: None },
    ];
    assert_eq!(endings(&service), expected);
    service.drain = Drain::Keep;
    assert!(endings(&service).iter().all(|port| port.gone.is_none()), "the Service's annotation comes first");
}

#[test]
fn no_port_loses_more_endpoints_than_its_part() {
    let service = service(&[("a", Tcp, 80), ("b", Tcp, 81), ("c", Tcp, 82), ("d", Udp, 53)]);
    let detection = OutlierDetection {
        connects: 5,
        resets: 3,
        slow: tables::SlowRule { percent: 300, least: 5 },
        base_ejection: 30_000,
        max_ejection: 300_000,
        interval: 10_000,
        max_ejection_percent: 40,
        min_health_percent: 70,
        probe: None,
    };
    let policy = Policy {
        outlier: Some(detection),
        ports: [(82, PortPolicy::default())].into(),
        ..Policy::asking_nothing(Kind::DestinationRule, "shop", "p")
    };
    let endpoints = |numbers: std::ops::Range<u8>| numbers.map(|n| endpoint(&format!("10.0.0.{n}"))).collect();
    let slices = [
        slice("few", &[("a", Tcp, 80), ("d", Udp, 53)], endpoints(1..6)),
        slice("many", &[("b", Tcp, 81)], endpoints(1..11)),
        slice("one", &[("c", Tcp, 82)], endpoints(1..2)),
    ];
    let addresses = ips(&["10.96.0.1"]);
    let desired = compile(ServiceView { policy: Some(&policy), ..view(&service, &addresses, &slices) }, HERE).unwrap();
    assert_eq!(desired.ports.iter().map(|port| port.outlier).collect::<Vec<_>>(), [true, true, false, false]);
    // Of five: 40 % are two, and with two out, 60 % are healthy.
    assert_eq!((desired.outlier.allowed, desired.outlier.ignored_above), (2, 1));
    assert_eq!(desired.outlier.thresholds, Thresholds { connects: 5, resets: 3, slow: detection.slow });
    let none = Policy { outlier: None, ..policy };
    let desired = compile(ServiceView { policy: Some(&none), ..view(&service, &addresses, &slices) }, HERE).unwrap();
    assert!(desired.outlier == OutlierRule::default() && desired.ports.iter().all(|port| !port.outlier));
}

/// A policy that says only how connections are shared out.
fn balanced(algorithm: Algorithm, balance: Balance) -> Policy {
    Policy { algorithm: Some(algorithm), balance, ..Policy::asking_nothing(Kind::TrafficPolicy, "shop", "p") }
}

/// The slots of a Service with three endpoints by this policy, as the last number of each address; and its weights.
fn compiled(policy: &Policy) -> (Vec<u8>, Vec<u32>) {
    let service = service(&[("", Tcp, 80)]);
    let addresses = ips(&["10.96.0.1"]);
    let endpoints = [("10.0.0.3", "v1-a"), ("10.0.0.1", "v2-a"), ("10.0.0.2", "v1-b")]
        .map(|(address, pod)| Endpoint { pod: pod.into(), ..endpoint(address) });
    let slices = [slice("a", &[("", Tcp, 80)], endpoints.into())];
    let desired = compile(ServiceView { policy: Some(policy), ..view(&service, &addresses, &slices) }, HERE).unwrap();
    let slots = desired.ports[0].slots.iter().map(|key| key.address.0[15]).collect();
    (slots, desired.weights.values().copied().collect())
}

#[test]
fn a_split_is_slots_by_weight_evenly_mixed() {
    let part = |prefix: &str, percent| Part {
        entry: 0,
        from: Locality::default(),
        which: Which::PodNamePrefix(prefix.into()),
        percent,
    };
    let balance = Balance { split: vec![part("v1-", 80), part("v2-", 20)], ..Balance::default() };
    assert_eq!(compiled(&balanced(Algorithm::RoundRobin, balance.clone())), (vec![2, 3, 1, 2, 3], vec![]));
    // Loads are compared by weight.
    let (slots, weights) = compiled(&balanced(Algorithm::LeastConnections, balance));
    assert_eq!((slots.len(), weights), (5, vec![2, 2]));
    assert_eq!(compiled(&balanced(Algorithm::LeastConnections, Balance::default())), (vec![1, 2, 3], vec![]));
}

/// How many slots say the endpoint with this last number.
fn positions(slots: &[u8], last: u8) -> usize {
    slots.iter().map(|slot| usize::from(*slot == last)).sum()
}

#[test]
fn maglevs_table_is_the_same_wherever_it_is_made_and_follows_the_weights() {
    let (table, _) = compiled(&balanced(Algorithm::Maglev, Balance::default()));
    assert_eq!(table.len(), 509);
    for last in 1..=3 {
        let count = positions(&table, last);
        assert!((165..=174).contains(&count), "{count} of 509");
    }
    // What every node must agree on: a change here moves clients in a rolling upgrade.
    assert_eq!(table[..12], [2, 3, 1, 2, 2, 2, 2, 2, 2, 2, 3, 1]);
    let weight = Weight { which: Which::PodNamePrefix("v2-".into()), weight: 8 };
    let (table, _) = compiled(&balanced(Algorithm::Maglev, Balance { weights: vec![weight], ..Balance::default() }));
    let count = positions(&table, 1);
    assert!((400..=415).contains(&count), "{count} of 509");
}

fn any_slices() -> impl Strategy<Value = Vec<EndpointSlice>> {
    let endpoint =
        (1u8..6, any::<[bool; 3]>(), any::<bool>()).prop_map(|(host, [ready, serving, terminating], here)| {
            let node = if here { "node-1" } else { "node-2" };
            Endpoint { ready, serving, terminating, node: node.into(), ..endpoint(&format!("10.0.0.{host}")) }
        });
    let slice = (prop::collection::vec(endpoint, 0..6), 1u16..3)
        .prop_map(|(endpoints, port)| slice("s", &[("", Tcp, port)], endpoints));
    prop::collection::vec(slice, 0..4)
}

proptest! {
    #[test]
    fn slots_and_kept_are_sorted_disjoint_and_complete(slices in any_slices(), local: bool) {
        let mut service = service(&[("", Tcp, 80)]);
        if local {
            service.internal_traffic_policy = InternalTrafficPolicy::Local;
        }
        let addresses = ips(&["10.96.0.1"]);
        let view = view(&service, &addresses, &slices);
        let desired = compile(view, HERE).unwrap();
        let port = &desired.ports[0];
        let (slots, kept): (BTreeSet<_>, BTreeSet<_>) = (port.slots.iter().collect(), port.kept.iter().collect());
        prop_assert!(port.slots.is_sorted() && port.kept.is_sorted());
        prop_assert_eq!((slots.len(), kept.len()), (port.slots.len(), port.kept.len()));
        prop_assert!(slots.is_disjoint(&kept));
        // One verdict that is no duplicate for each backend, and every backend that serves is in one of the two.
        let candidates: Vec<_> = ports(view, HERE).flat_map(|port| port.candidates).collect();
        let all: BTreeSet<_> = candidates.iter().map(|candidate| candidate.backend).collect();
        let judged = candidates.iter().filter(|candidate| candidate.verdict != Verdict::Out(Why::Duplicate));
        prop_assert_eq!(judged.count(), all.len());
        for candidate in candidates.iter().filter(|candidate| candidate.endpoint.ready) {
            prop_assert!(slots.contains(&candidate.backend) || (local && kept_or_elsewhere(candidate)));
        }
        // The order of the slices does not matter to which backends are reachable.
        let mut turned = slices.clone();
        turned.reverse();
        let turned = compile(ServiceView { slices: &turned, ..view }, HERE).unwrap();
        prop_assert_eq!(turned, desired);
    }
}

/// With a local policy a ready endpoint elsewhere takes nothing here.
fn kept_or_elsewhere(candidate: &Candidate<'_>) -> bool {
    &*candidate.endpoint.node != HERE.node || candidate.verdict == Verdict::Out(Why::Duplicate)
}
