//! What the agent itself would do to a connection or to its backends, for the reader of an explanation.

use crate::api::types::{Endings, Explanation};
use crate::model::{Policy, Service, ServicePort};
use mesh_common::address::Protocol;

/// Says when a connection to this port would be ended though neither end wants that.
pub fn endings(service: &Service, policy: Option<&Policy>, port: &ServicePort, explanation: &mut Explanation) {
    let tcp = policy.filter(|_| port.protocol == Protocol::Tcp);
    let lifetime: Endings = tcp.map(|policy| policy.lifetime_of(port.port)).unwrap_or_default().into();
    let notes = &mut explanation.notes;
    if let Some(drain) = Endings::of(service, policy).drain {
        notes.push(format!("connections to an endpoint that is removed: {drain}"));
    }
    if let Some(seconds) = lifetime.idle_timeout_seconds {
        notes.push(format!("the connection is ended after {seconds} s without data (idle timeout)"));
    }
    if let Some(seconds) = lifetime.max_duration_seconds {
        notes.push(format!("the connection is ended {seconds} s after connect() (maximum duration)"));
    }
}

/// Says how often ejected backends are asked.
pub fn health_check(policy: Option<&Policy>, explanation: &mut Explanation) {
    let Some(probe) = policy.and_then(|policy| policy.outlier?.probe) else { return };
    let seconds = probe.interval.as_secs();
    let note = format!("the agent asks ejected backends every {seconds} s whether they take connections (healthCheck)");
    explanation.notes.push(note);
}
