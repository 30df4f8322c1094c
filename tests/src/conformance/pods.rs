//! The pods of the conformance bed: who serves, who asks, and where.

use crate::cluster::PROGRAMS;
use serde_json::{Value, json};

/// A pod of the bed.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its name, with which its server answers.
    pub pod: &'static str,
    /// Its node.
    pub node: &'static str,
    /// Whether it has the node's network.
    pub host: bool,
}

const fn own(pod: &'static str, node: &'static str) -> Place {
    Place { pod, node, host: false }
}

const fn host(pod: &'static str, node: &'static str) -> Place {
    Place { pod, node, host: true }
}

/// All pods. Those named `near` and most clients are on one node, those named `far` on the other; every one serves.
pub const PLACES: [Place; 9] = [
    own("near-1", "node-1"),
    own("near-2", "node-1"),
    own("far-1", "node-2"),
    own("far-2", "node-2"),
    own("client-1", "node-1"),
    own("client-2", "node-1"),
    own("client-3", "node-2"),
    host("host-1", "node-1"),
    host("host-2", "node-2"),
];

/// The port on which pods serve TCP and UDP.
pub const PORT: u16 = 8080;
/// A second TCP port of pods with a network of their own.
pub const SECOND: u16 = 9090;
/// What host pods serve: their ports are the node's.
pub const HOST_PORT: u16 = 18080;
/// Further TCP ports of host pods, for what a node serves itself.
pub const NODES_OWN: [u16; 2] = [18081, 18082];

/// The pod as an object.
pub fn object(place: &Place) -> Value {
    let ports = if place.host {
        let [first, second] = NODES_OWN;
        vec![format!("tcp/{HOST_PORT}"), format!("udp/{HOST_PORT}"), format!("tcp/{first}"), format!("tcp/{second}")]
    } else {
        vec![format!("tcp/{PORT}"), format!("udp/{PORT}"), format!("tcp/{SECOND}")]
    };
    let port = if place.host { HOST_PORT } else { PORT };
    let mut container = echo(place.pod, &ports);
    container["readinessProbe"] = json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": place.pod, "namespace": "default"},
        "spec": {
            "nodeName": place.node, "hostNetwork": place.host, "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    })
}

/// A container with the echo server.
pub fn echo(name: &str, ports: &[String]) -> Value {
    let mut command = vec!["/mesh-echo".to_owned(), format!("--name={name}")];
    command.extend_from_slice(ports);
    json!({"name": "echo", "image": PROGRAMS, "command": command})
}
