//! Services and `EndpointSlices` for tests, in a line each; what this cannot say, a test writes as YAML.

use crate::world::{NODE_NAME, Pod};
use serde_json::{Value, json};
use std::net::IpAddr;

/// A Service in the namespace `default`.
pub fn service(name: &str) -> Service {
    Service(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": []},
    }))
}

/// A Service, to be added to.
#[derive(Clone, Debug)]
pub struct Service(Value);

impl Service {
    /// Adds a `ClusterIP`; the first decides the primary family.
    #[must_use]
    pub fn cluster_ip(mut self, address: &str) -> Self {
        let spec = &mut self.0["spec"];
        if spec["clusterIP"].is_null() {
            spec["clusterIP"] = address.into();
        }
        push(&mut spec["clusterIPs"], address.into());
        push(&mut spec["ipFamilies"], if address.contains(':') { "IPv6" } else { "IPv4" }.into());
        self
    }

    /// Adds a TCP port, `tcp-<port>` by name.
    #[must_use]
    pub fn tcp(self, port: u16, target: u16) -> Self {
        self.port("TCP", port, target)
    }

    /// Adds a UDP port, `udp-<port>` by name.
    #[must_use]
    pub fn udp(self, port: u16, target: u16) -> Self {
        self.port("UDP", port, target)
    }

    fn port(mut self, protocol: &str, port: u16, target: u16) -> Self {
        let name = port_name(protocol, target);
        let port = json!({"name": name, "protocol": protocol, "port": port, "targetPort": target});
        push(&mut self.0["spec"]["ports"], port);
        self
    }

    /// Sets a field of the `spec`.
    #[must_use]
    pub fn spec(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["spec"][field] = value.into();
        self
    }

    /// Sets an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = value.into();
        self
    }

    /// The object.
    pub fn value(self) -> Value {
        self.0
    }

    /// The text.
    pub fn yaml(&self) -> String {
        self.0.to_string()
    }
}

/// The IPv4 `EndpointSlice` `<service>-v4` of a Service in the namespace `default`.
pub fn slice(service: &str) -> Slice {
    Slice::new(service, "v4", "IPv4")
}

/// The IPv6 `EndpointSlice` `<service>-v6` of a Service in the namespace `default`.
pub fn slice_v6(service: &str) -> Slice {
    Slice::new(service, "v6", "IPv6")
}

/// An `EndpointSlice`, to be added to.
#[derive(Clone, Debug)]
pub struct Slice(Value);

impl Slice {
    fn new(service: &str, suffix: &str, family: &str) -> Self {
        Self(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-{suffix}"), "namespace": "default",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": family, "ports": [], "endpoints": [],
        }))
    }

    /// Whether it lists IPv6 addresses.
    pub fn is_ipv6(&self) -> bool {
        self.0["addressType"] == "IPv6"
    }

    /// Another name than the usual, for a second slice of one Service and family.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.0["metadata"]["name"] = name.into();
        self
    }

    /// Adds a TCP port of the endpoints, with the name that [`Service::tcp`] gives a port with this target.
    #[must_use]
    pub fn tcp(self, port: u16) -> Self {
        self.port(&port_name("TCP", port), "TCP", port)
    }

    /// Adds a UDP port of the endpoints, with the name that [`Service::udp`] gives a port with this target.
    #[must_use]
    pub fn udp(self, port: u16) -> Self {
        self.port(&port_name("UDP", port), "UDP", port)
    }

    /// Adds a port of the endpoints by the name of the Service's port.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: &str, port: u16) -> Self {
        push(&mut self.0["ports"], json!({"name": name, "protocol": protocol, "port": port}));
        self
    }

    /// Adds a ready endpoint.
    #[must_use]
    pub fn endpoint(self, pod: &Pod) -> Self {
        self.endpoint_with(pod, &json!({"conditions": {"ready": true, "serving": true, "terminating": false}}))
    }

    /// Adds several ready endpoints.
    #[must_use]
    pub fn endpoints<'p>(self, pods: impl IntoIterator<Item = &'p Pod>) -> Self {
        pods.into_iter().fold(self, Self::endpoint)
    }

    /// Adds an endpoint that is terminating, and still serving or not.
    #[must_use]
    pub fn terminating(self, pod: &Pod, serving: bool) -> Self {
        self.endpoint_with(pod, &json!({"conditions": {"ready": false, "serving": serving, "terminating": true}}))
    }

    /// Adds an endpoint that is not ready.
    #[must_use]
    pub fn not_ready(self, pod: &Pod) -> Self {
        self.endpoint_with(pod, &json!({"conditions": {"ready": false, "serving": false, "terminating": false}}))
    }

    /// Adds an endpoint with further fields (`conditions`, `zone`, `hints`, another `nodeName`).
    #[must_use]
    pub fn endpoint_with(self, pod: &Pod, fields: &Value) -> Self {
        let address: IpAddr = if self.is_ipv6() { pod.v6() } else { pod.v4() };
        self.endpoint_at(pod.name(), address, NODE_NAME, fields)
    }

    /// Adds a pod of a real cluster as an endpoint, with further fields.
    #[must_use]
    pub fn endpoint_at(mut self, pod: &str, address: IpAddr, node: &str, fields: &Value) -> Self {
        let mut endpoint = json!({
            "addresses": [address.to_string()], "nodeName": node,
            "targetRef": {"kind": "Pod", "namespace": "default", "name": pod},
        });
        for (key, value) in fields.as_object().into_iter().flatten() {
            endpoint[key] = value.clone();
        }
        push(&mut self.0["endpoints"], endpoint);
        self
    }

    /// The object.
    pub fn value(self) -> Value {
        self.0
    }

    /// The text.
    pub fn yaml(&self) -> String {
        self.0.to_string()
    }
}

/// A `TrafficPolicy` with limits on one Service, named `<service>-limits`, in the namespace `default`.
pub fn limits(service: &str, max_connections: Option<u64>, max_connections_per_backend: Option<u64>) -> String {
    let mut limits = json!({});
    for (field, limit) in
        [("maxConnections", max_connections), ("maxConnectionsPerBackend", max_connections_per_backend)]
    {
        if let Some(limit) = limit {
            limits[field] = limit.into();
        }
    }
    policy(("default", &format!("{service}-limits")), service, json!({"limits": limits})).to_string()
}

/// A `TrafficPolicy` on one Service of its namespace; `wishes` is what else its `spec` says. `name` is namespace and name.
pub fn policy(name: (&str, &str), service: &str, wishes: Value) -> Value {
    let (namespace, name) = name;
    let mut spec = wishes;
    spec["targetRefs"] = json!([{"group": "", "kind": "Service", "name": service}]);
    json!({
        "apiVersion": "mesh.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// Ports of a Service and of its slices join by name.
fn port_name(protocol: &str, target: u16) -> String {
    format!("{}-{target}", protocol.to_lowercase())
}

fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(values) => values.push(value),
        other => *other = Value::Array(vec![value]),
    }
}
