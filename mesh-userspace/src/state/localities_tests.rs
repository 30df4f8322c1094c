//! Nodes come, go and move, and what goes by their places follows; what is not known is said.

use super::*;
use crate::model::parse::Parser;
use crate::model::{Node, Object, Preference};
use crate::source::Change;
use serde_json::json;

fn node(name: &str, region: &str, zone: &str) -> Change {
    let locality = Locality { region: region.into(), zone: zone.into(), subzone: "".into() };
    let node = Node { name: name.into(), locality, deleting: false, addresses: Vec::new() };
    Change::Upsert { object: Object::Node(node), origin: None }
}

/// The Services `near`, which follows a policy that goes by places, and `plain`, which does not, with endpoints on two
/// nodes and one that names none.
fn state(prefer: &[Level], failover: &[(&str, &str)]) -> ClusterState {
    let mut state = ClusterState::new("node-1", 1);
    let mut put = |object| state.apply(Change::Upsert { object, origin: None });
    for (name, ip) in [("near", "10.96.0.1"), ("plain", "10.96.0.2")] {
        let service = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": ip, "ports": [{"port": 80}]},
        }));
        put(Object::Service(Parser::default().service(&service.unwrap()).unwrap().object));
        let slice = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "node-1"},
                {"addresses": ["10.0.0.2"], "nodeName": "node-2"},
                {"addresses": ["10.0.0.3"]},
            ],
        }));
        put(Object::EndpointSlice(Parser::default().endpoint_slice(&slice.unwrap()).unwrap().object.unwrap()));
    }
    let mut policy = Policy::asking_nothing(crate::model::Kind::DestinationRule, "shop", "near");
    policy.targets = vec![ServiceKey::new("shop", "near")];
    policy.balance.prefer = prefer.iter().copied().map(Preference::own).collect();
    policy.balance.failover =
        failover.iter().map(|(from, to)| crate::model::Failover { from: (*from).into(), to: (*to).into() }).collect();
    put(Object::Policy(Box::new(policy)));
    state
}

fn dirty(state: &mut ClusterState) -> Vec<String> {
    state.take_dirty().iter().filter(|key| !key.is_nodes()).map(ToString::to_string).collect()
}

#[test]
fn a_node_that_moves_touches_what_goes_by_places_and_has_endpoints_there() {
    let mut state = state(&[Level::Region], &[]);
    state.apply(node("node-1", "eu", "a"));
    state.apply(Change::Synced);
    assert_eq!(dirty(&mut state), ["shop/near", "shop/plain"]);
    for (change, touched) in [
        (node("node-2", "eu", "b"), true),
        (node("node-2", "eu", "b"), false),
        (node("node-2", "us", "b"), true),
        (node("node-3", "us", "b"), false),
        (node("node-1", "us", "b"), true),
        (
            Change::Remove(ObjectRef { kind: crate::model::Kind::Node, namespace: "".into(), name: "node-2".into() }),
            true,
        ),
    ] {
        state.apply(change);
        let expected: &[&str] = if touched { &["shop/near"] } else { &[] };
        assert_eq!(dirty(&mut state), expected);
    }
    assert_eq!(state.here().region, "us");
}

/// What is said of the policy: message and action.
fn said(state: &ClusterState) -> Vec<String> {
    let findings = state.findings();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Unresolved));
    findings.iter().map(|finding| format!("{}; {}", finding.message, finding.action)).collect()
}

#[test]
fn a_region_that_is_not_known_is_said_on_the_policy_that_goes_by_it() {
    let mut state = state(&[Level::Region, Level::Zone], &[("eu", "us")]);
    assert_eq!(
        said(&state),
        [
            "the region of node node-1, where the agent runs, is not known; \
             see that there is a Node node-1, with the label topology.kubernetes.io/region",
            "the region of 3 of 3 endpoints is not known, and they are taken to be in none: 10.0.0.1 of Service shop/near; \
             see that there is a Node node-1, with the label topology.kubernetes.io/region",
        ]
    );
    state.apply(node("node-1", "eu", "a"));
    let only_own = state.with_node_ports(NodePorts::ThisNode);
    assert!(
        said(&only_own)[0].ends_with("start it with --node-ports all-nodes (Node node-2)"),
        "{:?}",
        said(&only_own)
    );
    let mut state = only_own.with_node_ports(NodePorts::AllNodes);
    state.apply(node("node-2", "us", "b"));
    let [last] = &said(&state)[..] else { panic!("{:?}", said(&state)) };
    assert!(last.starts_with("the region of 1 of 3") && last.ends_with("write nodeName into the endpoint"), "{last}");
}

#[test]
fn where_nobody_has_a_region_an_order_by_nearness_lacks_none() {
    let mut state = state(&[Level::Region, Level::Zone], &[]);
    state.apply(node("node-1", "", "a"));
    assert!(said(&state).is_empty());
    state.apply(node("node-2", "eu", "a"));
    assert_eq!(said(&state).len(), 2, "now one has");
}

#[test]
fn ejections_touch_services_with_an_order_when_they_change() {
    let mut state = state(&[Level::Zone], &[]);
    state.apply(Change::Synced);
    dirty(&mut state);
    assert!(state.failing_over().is_empty(), "nothing is ejected without outlier detection");
    let key = ServiceKey::new("shop", "near");
    let own = ObjectRef { kind: crate::model::Kind::DestinationRule, namespace: "shop".into(), name: "near".into() };
    let mut policy = state.policy(&own).unwrap().policy.clone();
    policy.outlier = Some(crate::model::OutlierDetection {
        connects: 5,
        resets: 0,
        slow: mesh_common::tables::SlowRule::default(),
        base_ejection: 1,
        max_ejection: 1,
        interval: 1,
        max_ejection_percent: 100,
        min_health_percent: 0,
        probe: None,
    });
    state.apply(Change::Upsert { object: Object::Policy(Box::new(policy)), origin: None });
    dirty(&mut state);
    assert_eq!(state.failing_over(), [key.clone()].into());
    let backend: BackendKey = *state.own_backends(&key).first().unwrap();
    assert!(state.note_ejected(&key, [backend].into()) && dirty(&mut state) == ["shop/near"]);
    assert!(!state.note_ejected(&key, [backend].into()) && dirty(&mut state).is_empty());
    assert_eq!(state.with_ejected(), [key.clone()].into());
    assert!(state.note_ejected(&key, BTreeSet::new()) && dirty(&mut state) == ["shop/near"]);
    assert!(!state.note_ejected(&key, BTreeSet::new()) && state.with_ejected().is_empty());
}
