//! What changes make of the state, and that only the end result matters.

use super::*;
use crate::model::{Drain, Endpoint, InternalTrafficPolicy, Limits, ServicePort, Severity, TrafficDistribution};
use mesh_common::address::Protocol;
use proptest::prelude::*;

fn service(name: &str, ip: &str) -> Service {
    Service {
        key: ServiceKey::new("shop", name),
        cluster_ips: vec![ip.parse().unwrap()],
        ports: vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80 }],
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::None,
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
        namespace: "shop".into(),
        name: name.into(),
        targets: targets.iter().map(|&target| ServiceKey::new("shop", target)).collect(),
        limits: Limits { max_connections: Some(limit), max_connections_per_backend: None },
        algorithm: None,
        created: "".into(),
    }
}

fn upsert(object: Object) -> Change {
    Change::Upsert { object, origin: Origin::default() }
}

fn state(changes: impl IntoIterator<Item = Change>) -> ClusterState {
    let mut state = ClusterState::new("node-1", 1);
    changes.into_iter().for_each(|change| state.apply(change));
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
        upsert(Object::TrafficPolicy(policy("p", &["cart"], 7))),
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
        upsert(Object::TrafficPolicy(policy("b", &["cart"], 2))),
        upsert(Object::TrafficPolicy(policy("a", &["cart"], 1))),
    ]);
    assert_eq!(limit(&state, "cart"), Some(2));
    assert_eq!(state.findings()[0].object.as_ref().unwrap().name, "a".into());
    dirty(&mut state);
    state.apply(upsert(Object::TrafficPolicy(policy("a", &["cart"], 3))));
    assert!(dirty(&mut state).is_empty(), "a policy that is not in force changes nothing");
    state.apply(upsert(Object::TrafficPolicy(policy("b", &["cart"], 4))));
    assert_eq!((dirty(&mut state), limit(&state, "cart")), (vec!["shop/cart".to_owned()], Some(4)));
    state.apply(upsert(Object::TrafficPolicy(policy("b", &["other"], 4))));
    assert_eq!(limit(&state, "cart"), Some(3));
    assert!(dirty(&mut state).contains(&"shop/cart".to_owned()));
}

#[test]
fn a_zone_touches_the_services_with_hints() {
    let mut hinted = slice("cart-1", "cart", &[1, 2]);
    for (endpoint, zone) in hinted.endpoints.iter_mut().zip(["a", "b"]) {
        endpoint.hints = Some(Box::new(crate::model::Hints { zones: vec![zone.into()], nodes: vec![] }));
    }
    let node = |name: &str, zone: &str| upsert(Object::Node(Node { name: name.into(), zone: zone.into() }));
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
            upsert(Object::TrafficPolicy(Policy { created: created.into(), ..policy(name, &targets, limit) }))
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

proptest! {
    /// Whatever happened before, the state is that of the objects that there are, in the order in which they were first
    /// seen; and whoever compiled only what was dirty has exactly that.
    #[test]
    fn the_way_does_not_matter(changes in prop::collection::vec(any_change(), 1..60)) {
        let mut state = state([]);
        let mut living: Vec<(ObjectRef, Change)> = Vec::new();
        let mut maps = BTreeMap::new();
        for change in changes {
            let object = named(&change).unwrap();
            let known = living.iter().position(|(other, _)| *other == object);
            match (&change, known) {
                (Change::Remove(_), Some(position)) => { living.remove(position); }
                (Change::Upsert { .. }, Some(position)) => living[position].1 = change.clone(),
                (Change::Upsert { .. }, None) => living.push((object, change.clone())),
                _ => {}
            }
            state.apply(change);
            for key in state.take_dirty() {
                match state.compile(&key) {
                    Some(desired) => { maps.insert(key, desired); }
                    None => { maps.remove(&key); }
                }
            }
        }
        let fresh = super::tests::state(living.into_iter().map(|(_, change)| change));
        let mut expected = BTreeMap::new();
        for key in fresh.entries.keys() {
            expected.extend(fresh.compile(key).map(|desired| (key.clone(), desired)));
        }
        prop_assert_eq!(&maps, &expected);
        prop_assert_eq!(state.findings(), fresh.findings());
        prop_assert_eq!(state.entries.len(), fresh.entries.len());
        // No address is served twice.
        let mut addresses: Vec<_> = maps.values().flat_map(|desired| &desired.addresses).collect();
        addresses.sort_unstable();
        let all = addresses.len();
        addresses.dedup();
        prop_assert_eq!(addresses.len(), all);
    }
}
