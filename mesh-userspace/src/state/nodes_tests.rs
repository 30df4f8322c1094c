//! At which addresses which Service has a `NodePort`.

use super::*;
use crate::model::{
    Drain, InternalTrafficPolicy, Kind, Locality, Node, Object, ObjectRef, ServicePort, TrafficDistribution,
};
use crate::source::Change;

fn service(name: &str, cluster_ips: &[&str], node_port: Option<u16>) -> Service {
    Service {
        key: ServiceKey::new("shop", name),
        cluster_ips: cluster_ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_ips: Vec::new(),
        health_check_port: None,
        ports: vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port }],
        internal_traffic_policy: InternalTrafficPolicy::Local,
        traffic_distribution: TrafficDistribution::None,
        session_affinity: None,
        ignored: None,
        created: "".into(),
        drain: Drain::ByProtocol,
    }
}

fn put(state: &mut ClusterState, service: Service) {
    state.apply(Change::Upsert { object: Object::Service(service), origin: None });
}

fn node(state: &mut ClusterState, name: &str, addresses: &[&str]) {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    let node = Node { name: name.into(), locality: Locality::default(), deleting: false, addresses };
    state.apply(Change::Upsert { object: Object::Node(node), origin: None });
}

fn state(served: NodePorts) -> ClusterState {
    let mut state = ClusterState::new("node-1", 1).with_node_ports(served);
    state.apply(Change::Synced);
    node(&mut state, "node-1", &["192.0.2.1", "2001:db8::1"]);
    node(&mut state, "node-2", &["192.0.2.2"]);
    state
}

/// The nodes' addresses in the maps, loopback ones left out.
fn addresses(state: &ClusterState) -> Vec<String> {
    let desired = state.compile(&ServiceKey::nodes());
    let addresses = desired.into_iter().flat_map(|desired| desired.addresses);
    addresses.filter(|address| !address.is_loopback()).map(|address| address.to_string()).collect()
}

/// What clients dial of a Service, port by port.
fn frontends(state: &ClusterState, name: &str) -> Vec<String> {
    let desired = state.compile(&ServiceKey::new("shop", name)).unwrap();
    let words = |keys: &[FrontendKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    desired.ports.iter().map(|port| words(&port.frontends)).collect()
}

#[test]
fn s12_the_nodes_addresses_are_in_the_maps_while_there_is_a_node_port() {
    let mut state = state(NodePorts::AllNodes);
    put(&mut state, service("inner", &["10.96.0.1"], None));
    state.take_dirty();
    assert!(state.compile(&ServiceKey::nodes()).is_none());
    put(&mut state, service("web", &["10.96.0.2"], Some(30_080)));
    assert!(state.take_dirty().contains(&ServiceKey::nodes()));
    assert_eq!(addresses(&state), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    // A node comes, changes nothing, changes its address, and goes.
    node(&mut state, "node-3", &["192.0.2.3"]);
    assert_eq!(state.take_dirty(), [ServiceKey::nodes()]);
    node(&mut state, "node-3", &["192.0.2.3"]);
    assert!(state.take_dirty().is_empty());
    node(&mut state, "node-3", &["192.0.2.4"]);
    assert_eq!(addresses(&state), ["192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::1"]);
    state.apply(Change::Remove(ObjectRef { kind: Kind::Node, namespace: "".into(), name: "node-3".into() }));
    assert_eq!(addresses(&state), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    // An address that becomes a Service's is the Service's.
    state.take_dirty();
    put(&mut state, service("odd", &["192.0.2.2"], None));
    assert!(state.take_dirty().contains(&ServiceKey::nodes()));
    assert_eq!(addresses(&state), ["192.0.2.1", "2001:db8::1"]);
    state.apply(Change::Remove(ServiceKey::new("shop", "web").object()));
    assert!(state.take_dirty().contains(&ServiceKey::nodes()));
    assert!(state.compile(&ServiceKey::nodes()).is_none());
}

#[test]
fn s12_the_addresses_are_those_that_the_agent_is_told_to_serve() {
    for (served, expected) in [
        (NodePorts::AllNodes, &["192.0.2.1", "192.0.2.2", "2001:db8::1"][..]),
        (NodePorts::ThisNode, &["192.0.2.1", "2001:db8::1"]),
        (NodePorts::Off, &[]),
    ] {
        let mut state = state(served);
        put(&mut state, service("web", &["10.96.0.2"], Some(30_080)));
        assert_eq!(addresses(&state), expected, "{served:?}");
    }
}

#[test]
fn s05_s12_a_node_port_is_served_in_each_family_of_its_service_and_by_all_endpoints() {
    let mut state = state(NodePorts::AllNodes);
    put(&mut state, service("web", &["10.96.0.2", "fd00::2"], Some(30_080)));
    // internalTrafficPolicy: Local is about the ClusterIP: the NodePort is a port by itself.
    assert_eq!(
        frontends(&state, "web"),
        ["10.96.0.2:80/TCP", "IPv4 nodes:30080/TCP", "[fd00::2]:80/TCP", "IPv6 nodes:30080/TCP"]
    );
    let at = |address: &str| {
        let key = state.at_a_node(address.parse().unwrap(), 30_080, Protocol::Tcp)?;
        state.service_at_node_port(&key).map(ToString::to_string)
    };
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "127.0.0.1", "::1"] {
        assert_eq!(at(address).as_deref(), Some("shop/web"), "{address}");
    }
    for address in ["192.0.2.3", "127.0.0.2", "10.96.0.2"] {
        assert_eq!(at(address), None, "{address}");
    }
}

#[test]
fn s12_of_two_services_with_one_node_port_the_older_has_it_and_the_other_is_told() {
    let mut state = state(NodePorts::AllNodes);
    let older = Service { created: "2026-01-01T00:00:00Z".into(), ..service("web", &["10.96.0.2"], Some(30_080)) };
    put(&mut state, service("api", &["10.96.0.3"], Some(30_080)));
    put(&mut state, older);
    assert_eq!(frontends(&state, "web"), ["10.96.0.2:80/TCP", "IPv4 nodes:30080/TCP"]);
    assert_eq!(frontends(&state, "api"), ["10.96.0.3:80/TCP"]);
    let said: Vec<_> = state.findings().iter().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("30080/TCP is the NodePort of Service shop/web"), "{said:?}");
    state.take_dirty();
    state.apply(Change::Remove(ServiceKey::new("shop", "web").object()));
    assert!(state.take_dirty().contains(&ServiceKey::new("shop", "api")));
    assert_eq!(frontends(&state, "api"), ["10.96.0.3:80/TCP", "IPv4 nodes:30080/TCP"]);
    assert!(state.findings().is_empty());
}
