//! From Kubernetes' own types to the model, once, at the edge.
//!
//! Every source (manifests, the API server) ends here. A function takes a typed object and gives either what it means,
//! with findings on the parts that mesh does not serve, or the findings that say why it means nothing. All of them are
//! reported at once, not only the first.
//!
//! To add a kind: a file here, its arm in [`crate::model::Object`], and its row in
//! [`crate::source::manifests`]'s table of kinds.

mod address;
mod connections;
pub mod destination_rule;
mod drain;
mod endpoint_slice;
mod external;
mod limits;
mod load_balancer;
mod metadata;
mod names;
mod node;
mod outlier_detection;
mod pod;
mod report;
mod service;
mod traffic_policy;

use super::{EndpointSlice, Finding, Namespace, Node, Pod, Policy, Service};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use names::Names;

pub use destination_rule::DestinationRuleManifest;
pub use metadata::object_ref;
pub use traffic_policy::{Spec as TrafficPolicySpec, TrafficPolicy, TrafficPolicyManifest};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What an object means, and what of it is not served.
#[derive(Debug)]
pub struct Parsed<T> {
    /// What it means.
    pub object: T,
    /// Settings that are not served.
    pub findings: Vec<Finding>,
}

/// A parser that keeps one copy of the names that objects share (namespaces, nodes, zones, ports).
#[derive(Debug, Default)]
pub struct Parser {
    names: Names,
}

impl Parser {
    /// A parser that knows no name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Understands a Service.
    pub fn service(&mut self, object: &core::Service) -> Result<Parsed<Service>, Vec<Finding>> {
        service::parse(&mut self.names, object)
    }

    /// Understands an `EndpointSlice`; `None` for one of FQDNs, which is passed over (SEMANTICS 9).
    pub fn endpoint_slice(
        &mut self,
        object: &discovery::EndpointSlice,
    ) -> Result<Parsed<Option<EndpointSlice>>, Vec<Finding>> {
        endpoint_slice::parse(&mut self.names, object)
    }

    /// Understands a Node.
    pub fn node(&mut self, object: &core::Node) -> Result<Parsed<Node>, Vec<Finding>> {
        node::parse(&mut self.names, object)
    }

    /// Understands a Pod.
    pub fn pod(&mut self, object: &core::Pod) -> Result<Parsed<Pod>, Vec<Finding>> {
        pod::parse(&mut self.names, object)
    }

    /// Understands a Namespace by its metadata, which is all that is read of it.
    pub fn namespace(&mut self, metadata: &ObjectMeta) -> Result<Parsed<Namespace>, Vec<Finding>> {
        pod::namespace(&mut self.names, metadata)
    }

    /// Understands a `TrafficPolicy`.
    pub fn traffic_policy(&mut self, object: &TrafficPolicy) -> Result<Parsed<Policy>, Vec<Finding>> {
        traffic_policy::parse(&mut self.names, object)
    }
    /// Understands Istio's `DestinationRule`.
    pub fn destination_rule(&mut self, object: &DestinationRuleManifest) -> Result<Parsed<Policy>, Vec<Finding>> {
        destination_rule::parse(&mut self.names, object)
    }
}
