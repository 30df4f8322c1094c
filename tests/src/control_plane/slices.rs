//! The `EndpointSlices` of a Service, from the pods that it selects.

use super::ZONE;
use super::pods::{PodState, Replica};
use super::service::{ServedService, target};
use crate::object::Object;
use crate::world::NODE_NAME;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Endpoints in one slice at most, as Kubernetes' controller has it.
const LARGEST: usize = 100;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Whether the control plane made this object, and not the application's author.
pub(super) fn is_ours(object: &Object) -> bool {
    object.name.kind == "EndpointSlice" && object.value["metadata"]["labels"][MANAGED_BY] == CONTROLLER
}

/// The slices of a Service: for each of its families, and for each set of ports that pods give its ports.
pub(super) fn of(service: &ServedService, selected: &[&Replica]) -> Result<Vec<Object>> {
    // Without a selector the author writes the slices.
    if service.spec.selector.as_ref().is_none_or(BTreeMap::is_empty) {
        return Ok(Vec::new());
    }
    let mut families: Vec<bool> = service.addresses.iter().map(std::net::IpAddr::is_ipv6).collect();
    if families.is_empty() {
        families.push(false);
    }
    let mut by_ports: BTreeMap<String, (Value, Vec<&Replica>)> = BTreeMap::new();
    for replica in selected {
        let ports = ports(service, replica);
        by_ports.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new())).1.push(replica);
    }
    if by_ports.is_empty() {
        by_ports.insert(String::new(), (json!([]), Vec::new()));
    }
    let mut slices = Vec::new();
    for ipv6 in families {
        let full = by_ports.values().flat_map(|(ports, replicas)| {
            let chunks: Vec<&[&Replica]> =
                if replicas.is_empty() { vec![&[]] } else { replicas.chunks(LARGEST).collect() };
            chunks.into_iter().map(move |chunk| (ports, chunk))
        });
        for (number, (ports, replicas)) in full.enumerate() {
            slices.push(slice(service, ipv6, number + 1, ports, replicas)?);
        }
    }
    Ok(slices)
}

fn slice(service: &ServedService, ipv6: bool, number: usize, ports: &Value, replicas: &[&Replica]) -> Result<Object> {
    let name = &service.object.name;
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let endpoints: Vec<_> = replicas.iter().map(|replica| endpoint(replica, service, ipv6)).collect();
    let value = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{}-{number}", name.name, family.to_lowercase()), "namespace": name.namespace,
            "labels": {"kubernetes.io/service-name": name.name, MANAGED_BY: CONTROLLER},
        },
        "addressType": family, "ports": ports, "endpoints": endpoints,
    });
    Object::new(value, "the control plane")
}

/// The Service's ports as one pod has them; a named target port that the pod does not have is left out.
fn ports(service: &ServedService, replica: &Replica) -> Value {
    let resolved = service.ports().iter().filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let name = port.name.as_deref().unwrap_or_default();
        target(port, replica).map(|number| json!({"name": name, "protocol": protocol, "port": number}))
    });
    resolved.collect()
}

fn endpoint(replica: &Replica, service: &ServedService, ipv6: bool) -> Value {
    let address = if ipv6 { replica.pod.v6() } else { replica.pod.v4() };
    let (ready, serving, terminating) = match replica.state {
        PodState::Ready => (true, true, false),
        PodState::NotReady => (false, false, false),
        PodState::Terminating => (false, true, true),
    };
    let ready = ready || service.spec.publish_not_ready_addresses == Some(true);
    json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": NODE_NAME, "zone": ZONE,
        "targetRef": {"kind": "Pod", "namespace": replica.namespace, "name": replica.name()},
    })
}
