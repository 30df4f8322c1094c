use super::*;
use crate::model::ServiceKey;
use crate::source::manifests;
use crate::state::ClusterState;

/// The limits of `shop/cart` on node-1: a Service with this `clusterIP`, whose policy says this.
fn limits(cluster_ip: &str, spec: &str) -> Vec<(String, u64, u64)> {
    let text = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: cart, namespace: shop}}
spec: {{clusterIP: {cluster_ip}, ports: [{{name: http, port: 80}}, {{name: dns, port: 53, protocol: UDP}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cart-1, namespace: shop, labels: {{kubernetes.io/service-name: cart}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}, {{name: other, port: 9}}, {{name: dns, port: 53, protocol: UDP}}]
endpoints:
- {{addresses: [10.244.1.5], nodeName: node-1}}
- {{addresses: [10.244.1.6], nodeName: node-1, conditions: {{ready: false, serving: false, terminating: true}}}}
- {{addresses: [10.244.1.7]}}
- {{addresses: [10.244.2.7], nodeName: node-2}}
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: limits, namespace: shop}}
spec: {{targetRefs: [{{kind: Service, name: cart}}], limits: {{{spec}}}}}
"
    );
    let mut state = ClusterState::new("node-1", 1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), text).unwrap();
    for change in manifests::read_once(folder.path()).unwrap().0 {
        state.apply(change);
    }
    assert!(state.findings().is_empty(), "{:?}", state.findings());
    let found = state.inbound_limits(&ServiceKey::new("shop", "cart"));
    found.into_iter().map(|(key, limit)| (key.to_string(), limit.limit, limit.observed)).collect()
}

#[test]
fn every_endpoint_of_this_node_is_limited_at_its_tcp_ports_whatever_its_state() {
    let here = ["10.244.1.5:8080/TCP", "10.244.1.6:8080/TCP", "10.244.1.7:8080/TCP"].map(|key| (key.to_owned(), 7));
    let enforced = here.clone().map(|(key, most)| (key, most, UNLIMITED));
    assert_eq!(limits("10.96.0.10", "maxInboundConnectionsPerBackend: 7"), enforced);
    // What is not served asks for nothing.
    assert!(limits("None", "maxInboundConnectionsPerBackend: 7").is_empty());
    let observed = here.map(|(key, most)| (key, UNLIMITED, most));
    assert_eq!(limits("10.96.0.10", "maxInboundConnectionsPerBackend: 7, mode: Observe"), observed);
    assert!(limits("10.96.0.10", "maxConnectionsPerBackend: 7").is_empty());
}

#[test]
fn of_two_limits_on_one_backend_both_hold() {
    let [enforced, lower, observed] = [(5, UNLIMITED), (3, UNLIMITED), (UNLIMITED, 2)];
    let limit = |(limit, observed)| InboundLimit { limit, observed };
    assert_eq!(limit(enforced).and(limit(lower)), limit(lower));
    assert_eq!(limit(enforced).and(limit(observed)), limit((5, 2)));
}
