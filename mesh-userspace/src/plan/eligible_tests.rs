//! Each rule of eligibility by its number in SEMANTICS.md, and a second statement of all of them.

use super::*;
use crate::model::Hints;
use proptest::prelude::*;

const HERE: Place<'_> = Place { zone: "zone-a", ..Place::on("node-1") };

fn endpoint(node: &str) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, 1].into(),
        ready: true,
        serving: true,
        terminating: false,
        node: node.into(),
        zone: "".into(),
        pod: "".into(),
        hints: None,
    }
}

fn terminating(node: &str, serving: bool) -> Endpoint {
    Endpoint { ready: false, serving, terminating: true, ..endpoint(node) }
}

fn not_ready(node: &str) -> Endpoint {
    Endpoint { ready: false, serving: false, ..endpoint(node) }
}

fn hinted(zones: &[&str], nodes: &[&str]) -> Endpoint {
    let hints = Hints {
        zones: zones.iter().map(|&zone| zone.into()).collect(),
        nodes: nodes.iter().map(|&node| node.into()).collect(),
    };
    Endpoint { hints: Some(Box::new(hints)), ..endpoint("node-9") }
}

fn judge(endpoints: &[Endpoint], policy: InternalTrafficPolicy) -> (Scope, Vec<&'static str>) {
    let scope = scope(endpoints, policy, HERE);
    let endpoints: Vec<_> = endpoints.iter().collect();
    (scope, verdicts(&endpoints, scope, HERE).into_iter().map(Verdict::name).collect())
}

fn cluster(endpoints: &[Endpoint]) -> (Scope, Vec<&'static str>) {
    judge(endpoints, InternalTrafficPolicy::Cluster)
}

fn local(endpoints: &[Endpoint]) -> Vec<&'static str> {
    judge(endpoints, InternalTrafficPolicy::Local).1
}

#[test]
fn s01_ready_endpoints_are_used() {
    let (_, verdicts) = cluster(&[endpoint("a"), not_ready("a"), terminating("a", true), terminating("a", false)]);
    assert_eq!(verdicts, ["ready", "not-ready", "terminating", "not-serving"]);
}

#[test]
fn s01_terminating_endpoints_that_serve_stand_in_when_none_is_ready() {
    let (_, verdicts) = cluster(&[not_ready("a"), terminating("a", true), terminating("a", false)]);
    assert_eq!(verdicts, ["not-ready", "serving-terminating", "not-serving"]);
}

#[test]
fn s01_an_endpoint_that_is_not_ready_never_stands_in() {
    let serving = Endpoint { ready: false, ..endpoint("a") };
    assert_eq!(cluster(&[serving]).1, ["not-ready"]);
}

#[test]
fn s01_the_fallback_is_per_node_with_local_policy() {
    assert_eq!(local(&[endpoint("node-2"), terminating("node-1", true)]), ["other-node", "serving-terminating"]);
    assert_eq!(local(&[endpoint("node-1"), terminating("node-1", true)]), ["ready", "terminating"]);
}

#[test]
fn s03_node_hints_need_every_ready_endpoint_and_this_node() {
    let (here, there) = (hinted(&["zone-a"], &["node-1"]), hinted(&["zone-a"], &["node-2"]));
    assert_eq!(cluster(&[here.clone(), there.clone()]), (Scope::SameNode, vec!["ready", "hinted-for-other-node"]));
    assert_eq!(cluster(std::slice::from_ref(&there)).0, Scope::SameZone);
    assert_eq!(cluster(&[here.clone(), hinted(&["zone-a"], &[])]).0, Scope::SameZone);
    assert_eq!(cluster(&[here, endpoint("node-1")]).0, Scope::Cluster);
}

#[test]
fn s03_zone_hints_need_every_ready_endpoint_and_this_zone() {
    let (here, there) = (hinted(&["zone-a", "zone-b"], &[]), hinted(&["zone-b"], &[]));
    assert_eq!(cluster(&[here.clone(), there.clone()]), (Scope::SameZone, vec!["ready", "hinted-for-other-zone"]));
    assert_eq!(cluster(std::slice::from_ref(&there)), (Scope::Cluster, vec!["ready"]));
    assert_eq!(cluster(&[here.clone(), endpoint("node-1")]), (Scope::Cluster, vec!["ready", "ready"]));
    let unhinted = not_ready("node-1");
    assert_eq!(cluster(&[here.clone(), unhinted]), (Scope::SameZone, vec!["ready", "not-ready"]));
    let nowhere = Place::on("node-1");
    assert_eq!(scope([&here, &there], InternalTrafficPolicy::Cluster, nowhere), Scope::Cluster);
}

#[test]
fn s03_hints_of_endpoints_that_are_not_ready_do_not_count() {
    let mut here = hinted(&["zone-a"], &[]);
    here.ready = false;
    assert_eq!(cluster(&[here, hinted(&["zone-b"], &[])]), (Scope::Cluster, vec!["not-ready", "ready"]));
}

#[test]
fn s04_local_policy_never_sends_away() {
    assert_eq!(local(&[endpoint("node-2"), terminating("node-2", true)]), ["other-node", "other-node"]);
    assert_eq!(local(&[endpoint("")]), ["other-node"]);
    let nameless = Place::on("");
    assert_eq!(verdicts(&[&endpoint("")], Scope::Local, nameless), [Verdict::Out(Why::OtherNode)]);
}

#[test]
fn s08_published_although_not_ready_arrives_ready_even_when_terminating() {
    let published = Endpoint { terminating: true, ..endpoint("a") };
    assert_eq!(cluster(&[published]).1, ["ready"]);
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let name = |prefix: &'static str| (0u8..3).prop_map(move |n| format!("{prefix}-{n}"));
    let hints = (prop::collection::vec(name("zone"), 0..3), prop::collection::vec(name("node"), 0..3));
    (any::<[bool; 3]>(), name("node"), prop::option::weighted(0.8, hints)).prop_map(
        |([ready, serving, terminating], node, hints)| Endpoint {
            ready,
            serving,
            terminating,
            hints: hints.map(|(zones, nodes)| {
                Box::new(Hints {
                    zones: zones.into_iter().map(Into::into).collect(),
                    nodes: nodes.into_iter().map(Into::into).collect(),
                })
            }),
            ..endpoint(&node)
        },
    )
}

/// The rules again, as the filters that the KEPs write down.
fn expected(endpoints: &[Endpoint], local: bool, here: Place<'_>) -> Vec<bool> {
    let names = |list: fn(&Hints) -> &Vec<std::sync::Arc<str>>, e: &Endpoint| -> Vec<String> {
        e.hints.as_deref().map(|h| list(h).iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let ready: Vec<&Endpoint> = endpoints.iter().filter(|e| e.ready).collect();
    let hinted = |list: fn(&Hints) -> &Vec<std::sync::Arc<str>>, wanted: &str| {
        ready.iter().all(|e| !names(list, e).is_empty())
            && ready.iter().any(|e| names(list, e).iter().any(|name| name == wanted))
    };
    let pick = |keep: &dyn Fn(&Endpoint) -> bool| endpoints.iter().map(keep).collect::<Vec<bool>>();
    let in_scope = |e: &Endpoint| !local || *e.node == *here.node;
    let chosen = if local {
        pick(&|e| e.ready && in_scope(e))
    } else if hinted(|h| &h.nodes, here.node) {
        pick(&|e| e.ready && names(|h| &h.nodes, e).iter().any(|name| name == here.node))
    } else if hinted(|h| &h.zones, here.zone) {
        pick(&|e| e.ready && names(|h| &h.zones, e).iter().any(|name| name == here.zone))
    } else {
        pick(&|e| e.ready)
    };
    if chosen.contains(&true) { chosen } else { pick(&|e| !e.ready && e.serving && e.terminating && in_scope(e)) }
}

proptest! {
    #[test]
    fn eligibility_is_what_the_keps_say(
        endpoints in prop::collection::vec(any_endpoint(), 0..8), is_local: bool, node in 0u8..3, zone in 0u8..3,
    ) {
        let (node, zone) = (format!("node-{node}"), format!("zone-{zone}"));
        let here = Place { zone: &zone, ..Place::on(&node) };
        let policy = if is_local { InternalTrafficPolicy::Local } else { InternalTrafficPolicy::Cluster };
        let scope = scope(&endpoints, policy, here);
        let borrowed: Vec<_> = endpoints.iter().collect();
        let verdicts = verdicts(&borrowed, scope, here);
        let is_in: Vec<_> = verdicts.iter().map(|verdict| verdict.is_in()).collect();
        prop_assert_eq!(&is_in, &expected(&endpoints, is_local, here));
        // No connection is refused while an endpoint in scope is ready.
        if policy == InternalTrafficPolicy::Cluster && endpoints.iter().any(|endpoint| endpoint.ready) {
            prop_assert!(is_in.contains(&true));
        }
    }
}
