//! Who has which frontend at an address that several Services may share.

use super::*;
use crate::model::{Drain, InternalTrafficPolicy, Object, Origin, ServicePort, TrafficDistribution};
use crate::source::Change;
use mesh_common::address::Protocol;

const SHARED: &str = "192.0.2.1";

fn service(name: &str, cluster_ip: &str, port: u16) -> Service {
    Service {
        key: ServiceKey::new("shop", name),
        cluster_ips: vec![cluster_ip.parse().unwrap()],
        load_balancer_ips: vec![SHARED.parse().unwrap()],
        source_ranges: Vec::new(),
        external_ips: vec!["192.0.2.9".parse().unwrap()],
        health_check_port: None,
        ports: vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port, node_port: None }],
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: TrafficDistribution::None,
        session_affinity: None,
        ignored: None,
        created: "".into(),
        drain: Drain::ByProtocol,
    }
}

fn put(state: &mut ClusterState, service: Service) -> Vec<String> {
    state.apply(Change::Upsert { object: Object::Service(service), origin: Some(Origin::default()) });
    state.take_dirty().iter().map(ToString::to_string).collect()
}

fn state(external_ips: bool) -> ClusterState {
    let mut state = ClusterState::new("node-1", 1).with_external_ips(external_ips);
    state.apply(Change::Synced);
    state
}

/// What clients dial of a Service, its ClusterIP left out.
fn outer(state: &ClusterState, name: &str) -> Vec<String> {
    let Some(desired) = state.compile(&ServiceKey::new("shop", name)) else { return Vec::new() };
    let keys =
        desired.ports.iter().flat_map(|port| &port.frontends).filter(|key| !desired.addresses.contains(&key.address));
    keys.map(ToString::to_string).collect()
}

#[test]
fn s16_external_ips_are_served_only_where_that_is_switched_on() {
    for (served, expected) in [(false, &["192.0.2.1:80/TCP"][..]), (true, &["192.0.2.1:80/TCP", "192.0.2.9:80/TCP"])] {
        let mut state = state(served);
        put(&mut state, service("web", "10.96.0.1", 80));
        assert_eq!(outer(&state, "web"), expected);
        let off: Vec<_> = state.findings().iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(off, if served { vec![] } else { vec!["spec.externalIPs"] });
    }
}

#[test]
fn s14_services_share_an_address_port_by_port_and_the_older_wins_a_port() {
    let mut state = state(false);
    put(&mut state, service("b", "10.96.0.1", 80));
    assert_eq!(put(&mut state, service("c", "10.96.0.2", 81)), ["shop/b", "shop/c"]);
    assert_eq!(
        (outer(&state, "b"), outer(&state, "c")),
        (vec!["192.0.2.1:80/TCP".into()], vec!["192.0.2.1:81/TCP".into()])
    );
    // The same port: the one that is dated is older than one that is not.
    let older = Service { created: "2020-01-01T00:00:00Z".into(), ..service("z", "10.96.0.3", 80) };
    assert_eq!(put(&mut state, older.clone()), ["shop/b", "shop/c", "shop/z"]);
    assert_eq!((outer(&state, "z").len(), outer(&state, "b").len(), outer(&state, "c").len()), (1, 0, 1));
    let conflict = |finding: &Finding| finding.severity == Severity::Conflict;
    let lost: Vec<_> = state.findings().into_iter().filter(conflict).map(|finding| finding.object).collect();
    assert_eq!(lost, [Some(ServiceKey::new("shop", "b").object())]);
    let key = FrontendKey::new(Address::from(SHARED.parse::<IpAddr>().unwrap()), Port::from_host(80), Protocol::Tcp);
    assert_eq!(state.service_at_external(&key), Some(&older.key));
    // It goes: the younger one has it.
    state.apply(Change::Remove(older.key.object()));
    assert_eq!(state.take_dirty().len(), 3);
    assert_eq!(outer(&state, "b").len(), 1);
}

#[test]
fn a_cluster_ip_is_nobody_elses_external_address() {
    let mut state = state(false);
    put(&mut state, service("web", "10.96.0.1", 80));
    let owner = Service { load_balancer_ips: Vec::new(), ..service("owner", SHARED, 80) };
    assert_eq!(put(&mut state, owner.clone()), ["shop/owner", "shop/web"]);
    assert_eq!((outer(&state, "web").len(), state.compile(&owner.key).is_some()), (0, true));
    state.apply(Change::Remove(owner.key.object()));
    assert_eq!(state.take_dirty().len(), 2);
    assert_eq!(outer(&state, "web").len(), 1);
}

#[test]
fn s05_outer_addresses_lead_to_all_endpoints_whatever_the_internal_traffic_policy() {
    let mut state = state(false);
    let local = InternalTrafficPolicy::Local;
    put(&mut state, Service { internal_traffic_policy: local, ..service("web", "10.96.0.1", 80) });
    let desired = state.compile(&ServiceKey::new("shop", "web")).unwrap();
    let frontends: Vec<Vec<String>> =
        desired.ports.iter().map(|port| port.frontends.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(frontends, [["10.96.0.1:80/TCP"], ["192.0.2.1:80/TCP"]]);
}
