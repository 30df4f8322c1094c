//! What the reader of an explanation should know besides.

use crate::api::types::{Candidate, Endings, Explanation, TrafficLimits};
use crate::model::{Policy, Service, ServicePort};
use crate::reconcile::ServiceCounts;
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

/// Says what else may refuse the connection: limits that depend on the client.
pub fn limits(traffic: &TrafficLimits, explanation: &mut Explanation) {
    let notes = &mut explanation.notes;
    if traffic.observe {
        notes.push("mode Observe: limits count what they would refuse, and refuse nothing".to_owned());
    }
    if let Some(most) = traffic.max_connections_per_client {
        notes.push(format!("a client that has {most} connections open is refused (maxConnectionsPerClient)"));
    }
    if let Some(most) = traffic.max_inbound_connections_per_backend {
        notes.push(format!(
            "a backend with {most} connections from wherever refuses at its own node (maxInboundConnectionsPerBackend)"
        ));
    }
    if let Some(rate) = traffic.connections_per_second_per_client {
        notes.push(format!("of one client {rate} new connections a second (connectionsPerSecondPerClient)"));
    }
    if let (Some(most), Some(idle)) = (traffic.max_flows_per_client, traffic.flow_idle_seconds) {
        notes.push(format!(
            "of one client {most} UDP sockets that are not connected, each until {idle} s after its last datagram \
             (maxFlowsPerClient)"
        ));
    }
}

/// Says how many backends may be ejected, and when that is ignored.
pub fn ejection(counts: Option<&ServiceCounts>, all_out: bool, explanation: &mut Explanation) {
    let Some((rule, ejected)) = counts.and_then(|counts| Some((counts.outlier?, counts.ejected))) else { return };
    explanation.notes.push(match rule.allowed {
        0 => "outlier detection: maxEjectionPercent of these backends is less than one, so none is ejected".to_owned(),
        most if ejected > rule.ignored_above => {
            format!("outlier detection: {ejected} of at most {most} are ejected, which minHealthPercent ignores")
        }
        _ if all_out && ejected > 0 => "outlier detection: all are ejected, which is ignored".to_owned(),
        most => format!("outlier detection: {ejected} of at most {most} backends of the Service are ejected"),
    });
    explanation.notes.extend(counts.and_then(answers));
}

/// Says how long backends take to answer, where they are judged by it.
fn answers(counts: &ServiceCounts) -> Option<String> {
    let slow = counts.outlier.map(|rule| rule.thresholds.slow).filter(|slow| slow.percent != 0)?;
    if counts.answer == 0 {
        return Some("outlier detection: no answer was measured yet".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to a hundredth of a millisecond")]
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let all = ms(counts.answer);
    let most = (all * f64::from(slow.percent) / 100.0).max(all + f64::from(slow.least));
    let known = counts.backends.iter().filter(|backend| backend.in_slots && backend.answer > 0);
    let slowest = known.max_by_key(|backend| backend.answer);
    let slowest = slowest.map(|of| format!("; of the slowest, {}, longer than {:.2} ms", of.key, ms(of.answer)));
    let text = format!(
        "outlier detection: answers take {all:.2} ms at the median, and a backend is ejected when three quarters of its take longer than {most:.2} ms"
    );
    Some(text + &slowest.unwrap_or_default())
}

/// Says what the reader should know of the client.
pub fn client(explanation: &mut Explanation) {
    let Some(client) = &explanation.client else { return };
    let node = &explanation.node;
    let remark = if client.node.is_empty() && client.pod.is_empty() {
        format!(
            "no endpoint slice knows this client: taken to run on node {node}, as every client that this agent serves"
        )
    } else if !client.node.is_empty() && client.node != *node {
        format!(
            "the client runs on node {}: the agent there decides, by its own zone and counts; this is the answer of node {node}",
            client.node
        )
    } else {
        let is_itself = |candidate: &Candidate| candidate.is_in && Some(candidate.address) == client.address;
        if !explanation.backends.iter().any(is_itself) {
            return;
        }
        "the client is itself one of the backends: it may reach itself".to_owned()
    };
    explanation.notes.push(remark);
}
