//! A node of the cluster.

use std::sync::Arc;

/// A Node; the agent uses its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`; empty when absent.
    pub zone: Arc<str>,
    /// Whether it is about to go: load balancers are to send it nothing new (KEP-3836).
    pub deleting: bool,
}
