//! How objects are named, and where they came from.

use super::{EndpointSlice, Namespace, Node, Pod, Policy, Service};
use std::fmt;
use std::sync::Arc;

/// The kinds that the agent reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `v1/Service`.
    Service,
    /// `discovery.k8s.io/v1/EndpointSlice`.
    EndpointSlice,
    /// `v1/Node`.
    Node,
    /// `mesh.dev/v1alpha1/TrafficPolicy`.
    TrafficPolicy,
    /// `networking.istio.io/v1/DestinationRule`, and its earlier versions.
    DestinationRule,
    /// `v1/Namespace`.
    Namespace,
    /// `v1/Pod`.
    Pod,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::DestinationRule => "DestinationRule",
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
        })
    }
}

/// One object of the cluster; prints as `Service shop/cart`, or `Node node-1` without a namespace.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectRef {
    /// The object's kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds that have none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// A Service by namespace and name; prints as `shop/cart`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// What the nodes' addresses are kept under. No Service has this key: each has a namespace.
    pub fn nodes() -> Self {
        Self::new("", "nodes")
    }

    /// Whether this is [`ServiceKey::nodes`].
    pub fn is_nodes(&self) -> bool {
        self.namespace.is_empty()
    }

    /// The Service as an object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: Kind::Service, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nodes() {
            f.write_str("the nodes' addresses")
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Where an object was read when it came from a file: a manifest's path and the position of the document in it, for people.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Origin {
    /// The file, relative to the manifest directory.
    pub file: Arc<str>,
    /// The document's number in the file, from 1.
    pub document: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (document {})", self.file, self.document)
    }
}

/// An object as the state keeps it.
#[derive(Clone, PartialEq, Debug)]
pub enum Object {
    /// A Service that has a ClusterIP, or is listed as not served.
    Service(Service),
    /// A slice of a Service's endpoints.
    EndpointSlice(EndpointSlice),
    /// A node with its zone.
    Node(Node),
    /// A policy attached to Services.
    Policy(Box<Policy>),
    /// A namespace, and whether its pods are left alone.
    Namespace(Namespace),
    /// A pod, and whether it is left alone.
    Pod(Pod),
}

impl Object {
    /// The object's name.
    pub fn object_ref(&self) -> ObjectRef {
        match self {
            Self::Service(service) => service.key.object(),
            Self::EndpointSlice(slice) => ObjectRef {
                kind: Kind::EndpointSlice,
                namespace: slice.service.namespace.clone(),
                name: slice.name.clone(),
            },
            Self::Node(node) => ObjectRef { kind: Kind::Node, namespace: "".into(), name: node.name.clone() },
            Self::Policy(policy) => policy.object(),
            Self::Namespace(namespace) => {
                ObjectRef { kind: Kind::Namespace, namespace: "".into(), name: namespace.name.clone() }
            }
            Self::Pod(pod) => pod.object(),
        }
    }
}
