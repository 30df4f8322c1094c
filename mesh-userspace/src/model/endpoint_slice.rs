//! A slice of a Service's endpoints.

use super::ServiceKey;
use mesh_common::address::Protocol;
use std::net::IpAddr;
use std::sync::Arc;

/// An EndpointSlice of IPv4 or IPv6 addresses. FQDN slices are passed over at the edge (SEMANTICS 9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointSlice {
    /// The slice's own name.
    pub name: Arc<str>,
    /// The Service that it belongs to (label `kubernetes.io/service-name`).
    pub service: ServiceKey,
    /// Whether the addresses are IPv6.
    pub v6: bool,
    /// Its ports; each endpoint serves all of them.
    pub ports: Vec<EndpointPort>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A port of a slice: the target of the Service port of the same name and protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointPort {
    /// The port's name; empty when absent.
    pub name: Arc<str>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The target port, 1 to 65535, host order.
    pub port: u16,
}

/// An endpoint with what decides whether it is eligible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The first of its addresses: Kubernetes uses no other.
    pub address: IpAddr,
    /// `conditions.ready`; absent means true.
    pub ready: bool,
    /// `conditions.serving`; absent means as `ready`.
    pub serving: bool,
    /// `conditions.terminating`; absent means false.
    pub terminating: bool,
    /// `nodeName`; empty when absent.
    pub node: Arc<str>,
    /// `zone`; empty when absent.
    pub zone: Arc<str>,
    /// `targetRef.name` when it is a Pod; empty when absent. For people.
    pub pod: Arc<str>,
    /// `hints`; boxed because most endpoints have none.
    pub hints: Option<Box<Hints>>,
}

/// Where an endpoint should be used from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hints {
    /// `forZones`.
    pub zones: Vec<Arc<str>>,
    /// `forNodes`.
    pub nodes: Vec<Arc<str>>,
}
