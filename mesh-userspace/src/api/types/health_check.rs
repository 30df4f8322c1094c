//! What a load balancer is told at a Service's `healthCheckNodePort`.

use super::ServiceName;
use serde::{Deserialize, Serialize};

/// The body, kube-proxy's keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The Service.
    pub service: ServiceName,
    /// Ready endpoints on this node.
    pub local_endpoints: u64,
    /// Whether this node's agent is well: it would not answer otherwise.
    pub service_proxy_healthy: bool,
}
