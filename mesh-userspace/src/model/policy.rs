//! What the owner of a Service asks for besides Kubernetes' own fields.

use super::ServiceKey;
use mesh_common::select::Algorithm;
use std::sync::Arc;

/// A `TrafficPolicy` (`mesh.dev/v1alpha1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The Services that it is attached to, all in its own namespace.
    pub targets: Vec<ServiceKey>,
    /// Its limits.
    pub limits: Limits,
    /// `spec.loadBalancer.algorithm`.
    pub algorithm: Option<Algorithm>,
    /// `metadata.creationTimestamp` as RFC 3339; empty when absent. The older wins a conflict.
    pub created: Arc<str>,
}

/// Limits of one Service, on each node by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `spec.limits.maxConnections`, 0 or more; `None` for no limit.
    pub max_connections: Option<u64>,
    /// `spec.limits.maxConnectionsPerBackend`, 0 or more; `None` for no limit.
    pub max_connections_per_backend: Option<u64>,
}
