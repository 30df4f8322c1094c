//! The answers of the API. Keys are stable: they are added, never renamed, within `v1`.
//!
//! Times are RFC 3339 in UTC; a limit that is absent is none; lists are sorted by name.

mod backend;
mod connection;
mod endings;
mod event;
mod explanation;
mod finding;
mod health_check;
mod healthz;
mod inbound;
mod limits;
mod policy;
mod service;
mod status;
mod table;

pub use backend::{Backend, BackendState};
pub use connection::Connection;
pub use endings::Endings;
pub use event::Event;
pub use explanation::{Candidate, Client, Explanation, Outcome, Rule};
pub use finding::{Finding, ObjectName};
pub use health_check::HealthCheck;
pub use healthz::Healthz;
pub use inbound::{InboundCounts, InboundStatus};
pub use limits::TrafficLimits;
pub use policy::{Policy, PolicyDetail, PortPolicy};
pub use service::{BackendCounts, Service, ServiceDetail, ServiceName, ServicePort, ServiceState};
pub use status::{
    Audit, Connections, EventCounts, Health, MapUsage, Program, ServiceCounts, Source, Status, Synchronisation,
    Waiting, WaitingState,
};
pub use table::{BackendLoad, Load, PortTable, ServiceTable};

use serde::{Deserialize, Serialize};

/// What the API answers when it cannot answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub action: String,
}
