//! Which endpoints answer: 1 to 4, 8 and 9.

use crate::conformance::look;
use crate::conformance::pods::SECOND;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{Slice, service, slice};
use anyhow::Result;
use serde_json::{Value, json};

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            1,
            "ready endpoints answer; one that does not say is ready",
            "`client-1` connects",
            |bed| {
                of("ready", |slice| {
                    let slice = bed.endpoint(bed.ready(slice, &["near-1"]), "far-1", &json!({}));
                    bed.endpoint(bed.endpoint(slice, "near-2", &not_ready()), "far-2", &terminating(true))
                })
            },
            |bed| tcp(bed, "client-1", "ready", "far-1, near-1"),
        ),
        Case::new(
            1,
            "without a ready endpoint, those that terminate and still serve answer",
            "`client-1` connects",
            |bed| {
                of("terminating", |slice| {
                    let slice = bed.endpoint(slice, "near-1", &terminating(true));
                    bed.endpoint(bed.endpoint(slice, "far-1", &terminating(false)), "far-2", &not_ready())
                })
            },
            |bed| tcp(bed, "client-1", "terminating", "near-1"),
        ),
        Case::new(
            1,
            "an endpoint that terminates and does not serve never answers",
            "`client-1` connects",
            |bed| of("gone", |slice| bed.endpoint(slice, "near-1", &terminating(false))),
            |bed| look::refused(&*bed.client("client-1")?, Transport::Tcp, bed.service("gone", 80)?),
        ),
        Case::new(
            1,
            "with `internalTrafficPolicy: Local`, that is decided among the node's own endpoints",
            "`client-1` connects; `client-3` does",
            |bed| {
                local("local-terminating", |slice| {
                    bed.ready(bed.endpoint(slice, "near-1", &terminating(true)), &["far-1"])
                })
            },
            |bed| both(bed, "local-terminating", "near-1", "far-1"),
        ),
        Case::new(
            2,
            "an established connection outlives its endpoint; new ones avoid it",
            "`client-1` connects and is answered; `near-1` becomes terminating and `far-1` ready: a new connection, the old one; \
             `near-1` is removed: a new connection, the old one",
            |bed| of("outlived", |slice| bed.ready(slice, &["near-1"])),
            outlived,
        ),
        Case::new(
            3,
            "`trafficDistribution: PreferSameNode`: the endpoint with this node's hint answers",
            "`client-1` connects; `client-3` does",
            |bed| {
                distributed("same-node", "PreferSameNode", |slice| {
                    let slice = bed.endpoint(slice, "near-1", &json!({"hints": {"forNodes": [{"name": "node-1"}]}}));
                    bed.endpoint(slice, "far-1", &json!({"hints": {"forNodes": [{"name": "node-2"}]}}))
                })
            },
            |bed| both(bed, "same-node", "near-1", "far-1"),
        ),
        Case::new(
            3,
            "an endpoint without a node hint: all endpoints answer",
            "`client-1` connects",
            |bed| {
                distributed("some-nodes", "PreferSameNode", |slice| {
                    let slice = bed.endpoint(slice, "near-1", &json!({"hints": {"forNodes": [{"name": "node-1"}]}}));
                    bed.ready(slice, &["far-1"])
                })
            },
            |bed| tcp(bed, "client-1", "some-nodes", "far-1, near-1"),
        ),
        Case::new(
            3,
            "`trafficDistribution: PreferSameZone`: endpoints with this zone's hint answer",
            "`client-1` connects; `client-3` does",
            |bed| {
                distributed("same-zone", "PreferSameZone", |slice| {
                    let slice = bed.endpoint(slice, "near-1", &zone("zone-2"));
                    bed.endpoint(bed.endpoint(slice, "far-1", &zone("zone-1")), "far-2", &zone("zone-1"))
                })
            },
            |bed| both(bed, "same-zone", "far-1, far-2", "near-1"),
        ),
        Case::new(
            3,
            "no endpoint with this zone's hint: all endpoints answer",
            "`client-1` connects; `client-3` does",
            |bed| {
                distributed("other-zone", "PreferClose", |slice| {
                    bed.endpoint(bed.endpoint(slice, "near-1", &zone("zone-2")), "far-1", &zone("zone-2"))
                })
            },
            |bed| both(bed, "other-zone", "far-1, near-1", "far-1, near-1"),
        ),
        Case::new(
            4,
            "`internalTrafficPolicy: Local`: only the node's own endpoints answer",
            "`client-1` connects; `client-3` does; `host-1` does",
            |bed| local("local", |slice| bed.ready(slice, &["near-1", "near-2", "far-1"])),
            |bed| {
                Ok([both(bed, "local", "near-1, near-2", "far-1")?, tcp(bed, "host-1", "local", "near-1, near-2")?]
                    .join("; "))
            },
        ),
        Case::new(
            4,
            "`internalTrafficPolicy: Local` without an endpoint on the node: nobody answers",
            "`client-1` connects; `client-3` does",
            |bed| local("local-none", |slice| bed.ready(slice, &["far-1"])),
            |bed| {
                let far = tcp(bed, "client-3", "local-none", "far-1")?;
                let near = look::answers(&*bed.client("client-1")?, Transport::Tcp, bed.service("local-none", 80)?)?;
                Ok(format!("{near}; {far}"))
            },
        )
        .better("a client learns it at once instead of waiting for its own timeout"),
        Case::new(
            9,
            "slices of one Service may have different target ports; an endpoint that two list is one",
            "`client-1` connects",
            |bed| {
                let first = bed.ready(slice("targets").named("targets-1"), &["near-1", "far-1"]);
                let second = bed.ready(slice("targets").named("targets-2"), &["near-2"]);
                let third = bed.ready(slice("targets").named("targets-3"), &["far-1"]);
                let web = json!([{"name": "web", "port": 80, "targetPort": "web"}]);
                vec![
                    service("targets").spec("ports", web).value(),
                    first.port("web", "TCP", 8080).value(),
                    second.port("web", "TCP", SECOND).value(),
                    third.port("web", "TCP", 8080).value(),
                ]
            },
            |bed| tcp(bed, "client-1", "targets", "far-1, near-1, near-2"),
        ),
    ]
}

/// A Service with TCP port 80 and these endpoints in one slice.
pub fn of(name: &str, endpoints: impl FnOnce(Slice) -> Slice) -> Vec<Value> {
    vec![service(name).tcp(80, 8080).value(), endpoints(slice(name).tcp(8080)).value()]
}

fn local(name: &str, endpoints: impl FnOnce(Slice) -> Slice) -> Vec<Value> {
    let local = service(name).tcp(80, 8080).spec("internalTrafficPolicy", "Local");
    vec![local.value(), endpoints(slice(name).tcp(8080)).value()]
}

fn distributed(name: &str, distribution: &str, endpoints: impl FnOnce(Slice) -> Slice) -> Vec<Value> {
    let service = service(name).tcp(80, 8080).spec("trafficDistribution", distribution);
    vec![service.value(), endpoints(slice(name).tcp(8080)).value()]
}

/// Who answers TCP connections of a pod to a Service's port 80.
pub fn tcp(bed: &Bed, pod: &'static str, service: &str, wanted: &str) -> Result<String> {
    look::tcp(&*bed.client(pod)?, bed.service(service, 80)?, wanted)
}

/// The same for a client on each node.
fn both(bed: &Bed, service: &str, near: &str, far: &str) -> Result<String> {
    Ok(format!("{}; {}", tcp(bed, "client-1", service, near)?, tcp(bed, "client-3", service, far)?))
}

fn outlived(bed: &Bed) -> Result<String> {
    let name = "outlived";
    tcp(bed, "client-1", name, "near-1")?;
    let client = bed.client("client-1")?;
    let held = client.connect(bed.service(name, 80)?)?;
    let mut seen = vec![look::told(held.server())];
    let steps = [
        bed.endpoint(bed.ready(slice(name).tcp(8080), &["far-1"]), "near-1", &terminating(true)),
        bed.ready(slice(name).tcp(8080), &["far-1"]),
    ];
    for step in steps {
        bed.apply(&[step.value()])?;
        seen.push(format!("{}, {}", tcp(bed, "client-1", name, "far-1")?, look::told(held.server())));
    }
    Ok(seen.join("; "))
}

fn zone(name: &str) -> Value {
    json!({"hints": {"forZones": [{"name": name}]}})
}

fn terminating(serving: bool) -> Value {
    json!({"conditions": {"ready": false, "serving": serving, "terminating": true}})
}

fn not_ready() -> Value {
    json!({"conditions": {"ready": false, "serving": false, "terminating": false}})
}
