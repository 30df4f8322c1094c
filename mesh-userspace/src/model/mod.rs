//! What the agent understands of Kubernetes' objects, parsed once at the edge.
//!
//! Nothing here is a Kubernetes type, and nothing optional is left that has a default: what a field's absence means is
//! decided when it is parsed.

mod drain;
mod endpoint_slice;
mod finding;
mod lifetime;
mod locality;
mod node;
mod object;
pub mod parse;
mod pod;
mod policy;
mod range;
mod service;

pub use drain::Drain;
pub use endpoint_slice::{Endpoint, EndpointPort, EndpointSlice, Hints};
pub use finding::{Finding, Severity};
pub use lifetime::Lifetime;
pub use locality::{Failover, Level, Locality, Place, Preference};
pub use node::{Node, NodePorts};
pub use object::{Kind, Object, ObjectRef, Origin, ServiceKey};
pub use pod::{Namespace, Pod};
pub use policy::{
    Balance, FlowLimit, Limits, OutlierDetection, Part, Policy, PortPolicy, Probe, Rate, SlowStart, Weight, Which,
    Wildcard,
};
pub use range::{NoRange, Range};
pub use service::{InternalTrafficPolicy, Service, ServicePort, TrafficDistribution};
