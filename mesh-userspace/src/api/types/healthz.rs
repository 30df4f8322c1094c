//! What `/healthz` says, with kube-proxy's keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `GET /healthz`, with 200 or 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Healthz {
    /// When the data path last was as the cluster says; now, while it is.
    pub last_updated: Option<Timestamp>,
    /// Now.
    pub current_time: Timestamp,
    /// Whether load balancers may send the node something new: its Node object is not about to be deleted.
    pub node_eligible: bool,
}
