//! What changes make of the state, and that only the end result matters.

use super::*;
use crate::model::{
    Drain, Endpoint, InternalTrafficPolicy, Limits, Origin, Policy, ServicePort, Severity, TrafficDistribution,
    Wildcard,
};
use mesh_common::address::Protocol;
use mesh_common::tables::UNLIMITED;
use proptest::prelude::*;

fn service(name: &str, ip: &str) -> Service {
    Service {
        key: ServiceKey::new("shop", name),
        cluster_ips: vec![ip.parse().unwrap()],
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_ips: Vec::new(),
        health_check_port: None,
        ports: vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None }],
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::None,
        session_affinity: None,
        ignored: None,
        created: "".into(),
        drain: Drain::ByProtocol,
    }
}

fn slice(name: &str, service: &str, hosts: &[u8]) -> EndpointSlice {
    let endpoint = |&host: &u8| Endpoint {
        address: [10, 0, 0, host].into(),
        ready: true,
        serving: true,
        terminating: false,
        node: "".into(),
        zone: "".into(),
        pod: "".into(),
        hints: None,
    };
    EndpointSlice {
        name: name.into(),
        service: ServiceKey::new("shop", service),
        v6: false,
        ports: vec![crate::model::EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: hosts.iter().map(endpoint).collect(),
    }
}

fn policy(name: &str, targets: &[&str], limit: u64) -> Policy {
    Policy {
        targets: targets.iter().map(|&target| ServiceKey::new("shop", target)).collect(),
        limits: Limits { max_connections: Some(limit), ..Limits::default() },
        ..Policy::asking_nothing(Kind::TrafficPolicy, "shop", name)
    }
}

fn upsert(object: Object) -> Change {
    Change::Upsert { object, origin: Some(Origin::default()) }
}

fn state(changes: impl IntoIterator<Item = Change>) -> ClusterState {
    let mut state = ClusterState::new("node-1", 1);
    for change in changes {
        state.apply(change);
    }
    state.apply(Change::Synced);
    state
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

fn dirty(state: &mut ClusterState) -> Vec<String> {
    state.take_dirty().iter().map(ToString::to_string).collect()
}

fn limit(state: &ClusterState, name: &str) -> Option<u64> {
    state.compile(&key(name)).map(|desired| desired.max_connections)
}

fn slots(state: &ClusterState, name: &str) -> usize {
    state.compile(&key(name)).map_or(0, |desired| desired.ports[0].slots.len())
}

#[test]
fn nothing_is_dirty_before_everything_was_read() {
    let mut state = ClusterState::new("node-1", 2);
    state.apply(upsert(Object::Service(service("cart", "10.96.0.1"))));
    state.apply(Change::Synced);
    assert!(!state.is_synced() && state.take_dirty().is_empty());
    state.apply(Change::Synced);
    assert!(state.is_synced());
    assert_eq!(dirty(&mut state), ["shop/cart"]);
}

#[test]
fn only_what_changed_is_dirty() {
    let cart = service("cart", "10.96.0.1");
    let mut state = state([
        upsert(Object::Service(cart.clone())),
        upsert(Object::Service(service("web", "10.96.0.2"))),
        upsert(Object::EndpointSlice(slice("cart-1", "cart", &[1]))),
    ]);
    assert_eq!(dirty(&mut state), ["shop/cart", "shop/web"]);
    state.apply(upsert(Object::Service(cart)));
    state.apply(upsert(Object::EndpointSlice(slice("cart-1", "cart", &[1]))));
    assert!(dirty(&mut state).is_empty(), "what is repeated changes nothing");
    state.apply(upsert(Object::EndpointSlice(slice("cart-1", "cart", &[1, 2]))));
    assert_eq!((dirty(&mut state), slots(&state, "cart")), (vec!["shop/cart".to_owned()], 2));
    state.apply(upsert(Object::EndpointSlice(slice("cart-1", "web", &[1, 2]))));
    assert_eq!(dirty(&mut state), ["shop/cart", "shop/web"]);
    assert_eq!((slots(&state, "cart"), slots(&state, "web")), (0, 2));
    state.apply(Change::Remove(key("web").object()));
    assert_eq!((dirty(&mut state), state.compile(&key("web"))), (vec!["shop/web".to_owned()], None));
}

#[test]
fn slices_and_policies_may_come_before_their_service() {
    let mut state = state([
        upsert(Object::EndpointSlice(slice("cart-1", "cart", &[1]))),
        upsert(Object::Policy(Box::new(policy("p", &["cart"], 7)))),
    ]);
    let finding = &state.findings()[0];
    assert_eq!((finding.severity, &*finding.field), (Severity::Unresolved, "spec.targetRefs[0]"));
    dirty(&mut state);
    state.apply(upsert(Object::Service(service("cart", "10.96.0.1"))));
    assert_eq!(dirty(&mut state), ["shop/cart"]);
    assert_eq!((slots(&state, "cart"), limit(&state, "cart")), (1, Some(7)));
    assert!(state.findings().is_empty());
}

#[test]
fn two_services_on_one_address_are_served_one_after_the_other() {
    let mut state = state([
        upsert(Object::Service(service("web", "10.96.0.1"))),
        upsert(Object::Service(service("cart", "10.96.0.1"))),
    ]);
    assert!(state.compile(&key("web")).is_some() && state.compile(&key("cart")).is_none());
    assert_eq!(state.service_at([10, 96, 0, 1].into()), Some(&key("web")));
    let findings = state.findings();
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Conflict));
    assert_eq!(findings[0].object, Some(key("cart").object()));
    dirty(&mut state);

    state.apply(upsert(Object::Service(Service {
        created: "2020-01-01T00:00:00Z".into(),
        ..service("cart", "10.96.0.1")
    })));
    assert_eq!(dirty(&mut state), ["shop/cart", "shop/web"], "the older one takes over");
    assert!(state.compile(&key("web")).is_none() && state.compile(&key("cart")).is_some());

    state.apply(Change::Remove(key("cart").object()));
    assert_eq!(dirty(&mut state), ["shop/cart", "shop/web"]);
    assert!(state.compile(&key("web")).is_some() && state.findings().is_empty());
}

#[test]
fn of_two_policies_the_older_is_in_force() {
    let mut state = state([
        upsert(Object::Service(service("cart", "10.96.0.1"))),
        upsert(Object::Policy(Box::new(policy("b", &["cart"], 2)))),
        upsert(Object::Policy(Box::new(policy("a", &["cart"], 1)))),
    ]);
    assert_eq!(limit(&state, "cart"), Some(2));
    assert_eq!(state.findings()[0].object.as_ref().unwrap().name, "a".into());
    dirty(&mut state);
    state.apply(upsert(Object::Policy(Box::new(policy("a", &["cart"], 3)))));
    assert!(dirty(&mut state).is_empty(), "a policy that is not in force changes nothing");
    state.apply(upsert(Object::Policy(Box::new(policy("b", &["cart"], 4)))));
    assert_eq!((dirty(&mut state), limit(&state, "cart")), (vec!["shop/cart".to_owned()], Some(4)));
    state.apply(upsert(Object::Policy(Box::new(policy("b", &["other"], 4)))));
    assert_eq!(limit(&state, "cart"), Some(3));
    assert!(dirty(&mut state).contains(&"shop/cart".to_owned()));
}

#[test]
fn what_names_a_service_comes_before_patterns_and_the_longer_pattern_before_the_shorter() {
    let mut state = ClusterState::new("node-1", 0);
    let wildcard = |namespace: &str, name: &str, suffix: &str, limit| Policy {
        wildcard: Some(Wildcard { namespace: (namespace == "shop").then(|| namespace.into()), suffix: suffix.into() }),
        limits: Limits { max_connections: Some(limit), ..Limits::default() },
        ..Policy::asking_nothing(Kind::DestinationRule, namespace, name)
    };
    state.apply(upsert(Object::Policy(Box::new(wildcard("istio-system", "root", ".svc.cluster.local", 1)))));
    state.apply(upsert(Object::Policy(Box::new(wildcard("shop", "all", "", 2)))));
    state.apply(upsert(Object::Service(service("cart", "10.96.0.1"))));
    let limit = |state: &ClusterState| state.compile(&key("cart")).unwrap().max_connections;
    assert_eq!(limit(&state), 2, "the Service's own namespace first");
    state.apply(upsert(Object::Policy(Box::new(wildcard("shop", "longer", ".shop.svc.cluster.local", 3)))));
    assert_eq!((limit(&state), dirty(&mut state)), (3, vec!["shop/cart".to_owned()]));
    state.apply(upsert(Object::Policy(Box::new(policy("named", &["cart"], 4)))));
    assert_eq!(limit(&state), 4);
    assert_eq!(state.findings(), [], "a pattern that comes after another is no conflict");
    for (kind, namespace, name, left) in [
        (Kind::TrafficPolicy, "shop", "named", 3),
        (Kind::DestinationRule, "shop", "longer", 2),
        (Kind::DestinationRule, "shop", "all", 1),
        (Kind::DestinationRule, "istio-system", "root", UNLIMITED),
    ] {
        state.apply(Change::Remove(ObjectRef { kind, namespace: namespace.into(), name: name.into() }));
        assert_eq!(limit(&state), left, "without {name}");
    }
}

#[test]
fn of_two_kinds_the_older_is_in_force_and_the_other_says_so() {
    let mut state = ClusterState::new("node-1", 0);
    state.apply(upsert(Object::Service(service("cart", "10.96.0.1"))));
    let rule = Policy { kind: Kind::DestinationRule, created: "2026-01-02".into(), ..policy("cart", &["cart"], 2) };
    state.apply(upsert(Object::Policy(Box::new(rule))));
    state.apply(upsert(Object::Policy(Box::new(Policy {
        created: "2026-01-01".into(),
        ..policy("cart", &["cart"], 1)
    }))));
    assert_eq!(state.compile(&key("cart")).unwrap().max_connections, 1);
    let [finding] = &state.findings()[..] else { panic!("{:?}", state.findings()) };
    let said = format!("{} {} {}", finding.object.as_ref().unwrap(), finding.field, finding.message);
    assert_eq!(
        said,
        "DestinationRule shop/cart spec.host shop/cart follows TrafficPolicy shop/cart, which was attached first"
    );
}

#[test]
fn a_zone_touches_the_services_with_hints() {
    let mut hinted = slice("cart-1", "cart", &[1, 2]);
    for (endpoint, zone) in hinted.endpoints.iter_mut().zip(["a", "b"]) {
        endpoint.hints = Some(Box::new(crate::model::Hints { zones: vec![zone.into()], nodes: vec![] }));
    }
    let node = |name: &str, zone: &str| {
        upsert(Object::Node(Node {
            name: name.into(),
            locality: Locality::of_zone(zone.into()),
            deleting: false,
            addresses: Vec::new(),
        }))
    };
    let mut state = state([
        upsert(Object::Service(service("cart", "10.96.0.1"))),
        upsert(Object::Service(service("web", "10.96.0.2"))),
        upsert(Object::EndpointSlice(hinted)),
        node("node-2", "b"),
    ]);
    dirty(&mut state);
    assert_eq!(slots(&state, "cart"), 2);
    state.apply(node("node-1", "a"));
    assert_eq!((dirty(&mut state), slots(&state, "cart")), (vec!["shop/cart".to_owned()], 1));
    state.apply(Change::Remove(ObjectRef { kind: Kind::Node, namespace: "".into(), name: "node-1".into() }));
    assert_eq!((dirty(&mut state), slots(&state, "cart")), (vec!["shop/cart".to_owned()], 2));
}

#[test]
fn a_slip_takes_nothing_from_another_service() {
    let mut state = state([
        upsert(Object::Service(service("cart", "10.96.0.1"))),
        upsert(Object::Service(service("web", "10.96.0.2"))),
    ]);
    dirty(&mut state);
    state.apply(upsert(Object::Service(service("cart", "10.96.0.2"))));
    assert!(dirty(&mut state).is_empty(), "what it last meant goes on");
    assert_eq!(state.service_at([10, 96, 0, 1].into()), Some(&key("cart")));
    assert_eq!(state.service_at([10, 96, 0, 2].into()), Some(&key("web")));
    let finding = &state.findings()[0];
    assert_eq!((finding.severity, &finding.object), (Severity::Conflict, &Some(key("cart").object())));

    state.apply(Change::Remove(key("web").object()));
    assert_eq!(dirty(&mut state), ["shop/cart", "shop/web"]);
    assert_eq!(state.service_at([10, 96, 0, 2].into()), Some(&key("cart")));
    assert_eq!(state.service_at([10, 96, 0, 1].into()), None);
    assert!(state.findings().is_empty());
}

#[test]
fn two_services_may_exchange_their_addresses() {
    let mut state = state([
        upsert(Object::Service(service("cart", "10.96.0.1"))),
        upsert(Object::Service(service("web", "10.96.0.2"))),
    ]);
    state.apply(upsert(Object::Service(service("cart", "10.96.0.2"))));
    state.apply(upsert(Object::Service(service("web", "10.96.0.1"))));
    assert_eq!(state.service_at([10, 96, 0, 1].into()), Some(&key("web")));
    assert_eq!(state.service_at([10, 96, 0, 2].into()), Some(&key("cart")));
    assert!(state.findings().is_empty());
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let created = prop::sample::select(vec!["", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]);
    let services = (name(), 1u8..4, created.clone()).prop_map(|(name, ip, created)| {
        upsert(Object::Service(Service { created: created.into(), ..service(name, &format!("10.96.0.{ip}")) }))
    });
    let slices = (name(), name(), prop::collection::vec(1u8..4, 0..3))
        .prop_map(|(own, service, hosts)| upsert(Object::EndpointSlice(slice(own, service, &hosts))));
    let policies = (name(), prop::collection::btree_set(name(), 1..3), 0u64..3, created).prop_map(
        |(name, targets, limit, created)| {
            let targets: Vec<_> = targets.into_iter().collect();
            upsert(Object::Policy(Box::new(Policy { created: created.into(), ..policy(name, &targets, limit) })))
        },
    );
    let kinds = prop::sample::select(vec![Kind::Service, Kind::EndpointSlice, Kind::TrafficPolicy]);
    let removals = (kinds, name())
        .prop_map(|(kind, name)| Change::Remove(ObjectRef { kind, namespace: "shop".into(), name: name.into() }));
    prop_oneof![3 => services, 3 => slices, 3 => policies, 3 => removals]
}

fn named(change: &Change) -> Option<ObjectRef> {
    match change {
        Change::Upsert { object, .. } => Some(object.object_ref()),
        Change::Remove(object) => Some(object.clone()),
        _ => None,
    }
}

/// Compiles what is dirty, as the agent does.
fn follow(state: &mut ClusterState, maps: &mut BTreeMap<ServiceKey, DesiredService>) {
    for key in state.take_dirty() {
        match state.compile(&key) {
            Some(desired) => drop(maps.insert(key, desired)),
            None => drop(maps.remove(&key)),
        }
    }
}

fn all(state: &ClusterState) -> BTreeMap<ServiceKey, DesiredService> {
    state.entries.keys().filter_map(|key| Some((key.clone(), state.compile(key)?))).collect()
}

proptest! {
    /// At each step: whoever compiled only what was dirty has exactly what is right, and no address is served twice.
    #[test]
    fn what_is_dirty_is_enough(changes in prop::collection::vec(any_change(), 1..80)) {
        let (mut state, mut maps) = (state([]), BTreeMap::new());
        for change in changes {
            state.apply(change);
            follow(&mut state, &mut maps);
            prop_assert_eq!(&maps, &all(&state));
            let mut addresses: Vec<_> = maps.values().flat_map(|desired| &desired.addresses).collect();
            let number = addresses.len();
            addresses.sort_unstable();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), number);
        }
    }

    /// Whatever happened before, the state is that of the objects that there are, in the order in which they came to be
    /// as they are: here, where what changes its addresses or its targets is removed first.
    #[test]
    fn the_way_does_not_matter(changes in prop::collection::vec(any_change(), 1..80)) {
        let mut state = state([]);
        let mut living: Vec<(ObjectRef, Change)> = Vec::new();
        for change in changes {
            let object = named(&change).unwrap();
            if let Some(position) = living.iter().position(|(other, _)| *other == object) {
                if wants(&living[position].1) == wants(&change) {
                    living[position].1 = change.clone();
                } else {
                    state.apply(Change::Remove(object.clone()));
                    living.remove(position);
                }
            }
            if matches!(change, Change::Upsert { .. }) && living.iter().all(|(other, _)| *other != object) {
                living.push((object, change.clone()));
            }
            state.apply(change);
        }
        let fresh = super::tests::state(living.into_iter().map(|(_, change)| change));
        prop_assert_eq!(all(&state), all(&fresh));
        prop_assert_eq!(state.findings(), fresh.findings());
        prop_assert_eq!(state.entries.len(), fresh.entries.len());
    }

    /// Whatever happened before, Services that end with an address each have it, and nothing is left of the rest.
    #[test]
    fn what_ends_right_is_right(
        changes in prop::collection::vec(any_change(), 1..80), turn in 0usize..3, order in Just(vec![0, 1, 2]).prop_shuffle(),
    ) {
        let mut state = state([]);
        for change in changes {
            state.apply(change);
        }
        let last: Vec<Change> = ["a", "b", "c"].into_iter().enumerate().map(|(i, name)| {
            upsert(Object::Service(service(name, &format!("10.96.0.{}", (i + turn) % 3 + 1))))
        }).collect();
        for i in order {
            state.apply(last[i].clone());
        }
        for kind in [Kind::EndpointSlice, Kind::TrafficPolicy] {
            for name in ["a", "b", "c"] {
                state.apply(Change::Remove(ObjectRef { kind, namespace: "shop".into(), name: name.into() }));
            }
        }
        let fresh = super::tests::state(last);
        prop_assert_eq!(all(&state), all(&fresh));
        prop_assert_eq!(state.findings(), vec![]);
        prop_assert!(state.slices.is_empty() && state.policies.is_empty());
    }
}

/// What an object may take from another.
fn wants(change: &Change) -> Vec<String> {
    match change {
        Change::Upsert { object: Object::Service(service), .. } => {
            service.cluster_ips.iter().map(ToString::to_string).collect()
        }
        Change::Upsert { object: Object::Policy(policy), .. } => {
            policy.targets.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    }
}
