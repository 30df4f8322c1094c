//! What the owner of a Service asks for besides Kubernetes' own fields.

use super::{Kind, ObjectRef, ServiceKey};
use mesh_common::select::Algorithm;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A `TrafficPolicy` (`mesh.dev/v1alpha1`), or Istio's `DestinationRule`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which of the two it is.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The Services that it is attached to by name.
    pub targets: Vec<ServiceKey>,
    /// The Services that it is attached to by a pattern of their names: any policy by name comes first.
    pub wildcard: Option<Wildcard>,
    /// Its limits.
    pub limits: Limits,
    /// `spec.loadBalancer.algorithm`.
    pub algorithm: Option<Algorithm>,
    /// Ports for which something else holds; what such a port does not say is the default, not what the policy says.
    pub ports: BTreeMap<u16, PortPolicy>,
    /// `metadata.creationTimestamp` as RFC 3339; empty when absent. The older wins a conflict.
    pub created: Arc<str>,
    /// `metadata.generation`; `None` for one that did not come from the API server.
    pub generation: Option<i64>,
}

impl Policy {
    /// A policy that is attached to nothing and asks for nothing.
    pub fn asking_nothing(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            targets: Vec::new(),
            wildcard: None,
            limits: Limits::default(),
            algorithm: None,
            ports: BTreeMap::new(),
            created: Arc::default(),
            generation: None,
        }
    }

    /// The policy as an object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The algorithm of a Service's port.
    pub fn algorithm_of(&self, port: u16) -> Option<Algorithm> {
        self.ports.get(&port).map_or(self.algorithm, |port| port.algorithm)
    }
}

/// Services by the end of their full names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wildcard {
    /// Their namespace; `None` for all.
    pub namespace: Option<Arc<str>>,
    /// What `name.namespace.svc.cluster.local` ends with; the longer one comes first.
    pub suffix: Arc<str>,
}

/// What holds for one port of a Service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortPolicy {
    /// Its algorithm.
    pub algorithm: Option<Algorithm>,
}

/// Limits of one Service, on each node by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `spec.limits.maxConnections`, 0 or more; `None` for no limit.
    pub max_connections: Option<u64>,
    /// `spec.limits.maxConnectionsPerBackend`, 0 or more; `None` for no limit.
    pub max_connections_per_backend: Option<u64>,
}
