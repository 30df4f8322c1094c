//! What would become of a connection, by the same verdicts, limits and picks that decide over a real one.

use super::backends::Judged;
use super::likelihood::{self, Slot};
use super::services::{affinity_seconds, internal_traffic_policy, policy_name, port, traffic_distribution};
use super::{Facts, limit, name, notes};
use crate::agent::monotonic;
use crate::api::query::{ExplainQuery, ExplainTarget};
use crate::api::types::{BackendState, Candidate, Explanation, Failure, Outcome, Rule, ServiceState};
use crate::maps::Maps;
use crate::model::{Endpoint, Policy, ServiceKey, ServicePort};
use crate::reconcile::ServiceCounts;
use crate::state::ServiceDetail;
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::reason::Reason;
use mesh_common::select::least_connections::Load;
use mesh_common::select::{Algorithm, slow_start};
use mesh_common::tables::FrontendKey;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// A target that is an address.
#[derive(Clone, Copy)]
struct Dialled {
    protocol: Protocol,
    address: IpAddr,
    port: u16,
    /// What it is looked up by.
    frontend: FrontendKey,
}

impl Dialled {
    fn new(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        let frontend = FrontendKey::new(address.into(), Port::from_host(port), protocol);
        Self { protocol, address, port, frontend }
    }

    /// Whether this is a port of a Service whose address was dialled.
    fn is(&self, port: &ServicePort) -> bool {
        let number = if self.frontend.is_node_port() { port.node_port } else { Some(port.port) };
        number == Some(self.port) && port.protocol == self.protocol
    }
}

impl<M: Maps> Facts<'_, M> {
    /// What would become of a connection.
    pub(super) fn explain(&self, query: &ExplainQuery) -> Result<Explanation, Failure> {
        let dialled = self.dialled(&query.target)?;
        let here = self.state.here();
        let mut explanation = Explanation {
            target: SocketAddr::new(dialled.address, dialled.port),
            protocol: dialled.protocol.to_string(),
            client: query.from.as_deref().map(|from| self.client(from)),
            node: here.node.to_owned(),
            zone: here.zone.to_owned(),
            region: here.region.to_owned(),
            outcome: Outcome::Untouched,
            reason: None,
            summary: String::new(),
            service: None,
            ports: Vec::new(),
            rule: None,
            backends: Vec::new(),
            likely: String::new(),
            notes: Vec::new(),
        };
        let frontend = dialled.frontend;
        let service = if frontend.is_node_port() {
            self.state.service_at_node_port(&frontend)
        } else {
            self.state.service_at(dialled.address).or_else(|| self.state.service_at_external(&frontend))
        };
        match service {
            Some(key) => self.at_a_service(key, dialled, &mut explanation),
            None => self.elsewhere(dialled, &mut explanation),
        }
        notes::client(&mut explanation);
        if !self.state.is_synced() {
            explanation.notes.push("the agent has not yet read everything: ask again".to_owned());
        }
        Ok(explanation)
    }

    fn dialled(&self, target: &ExplainTarget) -> Result<Dialled, Failure> {
        let (namespace, service, wanted) = match target {
            ExplainTarget::Address { protocol, address, port } => {
                let mut dialled = Dialled::new(*protocol, address.to_canonical(), *port);
                let external = self.state.service_at_external(&dialled.frontend).is_some();
                let at_a_node = self.state.at_a_node(dialled.address, *port, *protocol).filter(|_| !external);
                dialled.frontend = at_a_node.unwrap_or(dialled.frontend);
                return Ok(dialled);
            }
            ExplainTarget::Service { namespace, name, port } => (namespace, name, port.as_deref()),
        };
        let key = ServiceKey::new(namespace.as_str(), service.as_str());
        let Some(detail) = self.state.service(&key) else {
            return Err(Failure {
                message: format!("the agent knows no Service {key}"),
                action: "list what it knows: mesh service list; what it could not read: mesh status".to_owned(),
            });
        };
        let is_wanted =
            |port: &&ServicePort| wanted.is_none_or(|wanted| *port.name == *wanted || port.port.to_string() == wanted);
        let Some(port) = detail.service.ports.iter().find(is_wanted) else {
            let ports: Vec<_> = detail.service.ports.iter().map(|port| self::port(port).to_string()).collect();
            return Err(Failure {
                message: format!("Service {key} has no port {}", wanted.unwrap_or_default()),
                action: format!("it has {}", ports.join(", ")),
            });
        };
        let Some(address) = detail.addresses.first() else {
            return Err(Failure {
                message: format!("Service {key} has no address of its own: {}", self.state_of(&detail).1),
                action: "see mesh service show".to_owned(),
            });
        };
        Ok(Dialled::new(port.protocol, *address, port.port))
    }

    /// The address is no Service's.
    fn elsewhere(&self, dialled: Dialled, explanation: &mut Explanation) {
        if dialled.frontend.is_node_port() {
            let summary =
                "a node's address, and no Service has this NodePort: the connection goes to where it is addressed";
            summary.clone_into(&mut explanation.summary);
            return;
        }
        let applied = self.reconciler.applied();
        if dialled.protocol == Protocol::Udp && applied.frontend(&dialled.frontend).is_some() {
            let summary = "no Service has this address now; for a minute after the last one went its UDP ports refuse";
            refuse(explanation, Reason::NoBackend, summary);
            return;
        }
        if applied.address(&Address::from(dialled.address)).is_some() {
            let summary = "no Service has this address now; the maps still have it and give it up after a moment";
            summary.clone_into(&mut explanation.summary);
            return;
        }
        let summary = "no Service has this address: the connection goes to where it is addressed";
        summary.clone_into(&mut explanation.summary);
        if let Some((namespace, endpoint)) = self.endpoint(|_, endpoint| endpoint.address == dialled.address) {
            let pod = if endpoint.pod.is_empty() {
                "an endpoint".to_owned()
            } else {
                format!("pod {namespace}/{}", endpoint.pod)
            };
            explanation
                .notes
                .push(format!("the address is that of {pod}: dialled by itself it is not balanced and not limited"));
        }
    }

    fn at_a_service(&self, key: &ServiceKey, dialled: Dialled, explanation: &mut Explanation) {
        let Some(detail) = self.state.service(key) else { return };
        explanation.service = Some(name(key));
        explanation.ports = detail.service.ports.iter().map(port).collect();
        match self.state_of(&detail) {
            (ServiceState::Served, _) => {}
            (state, why) if why.is_empty() => {
                explanation.notes.push(format!("the Service is {}: its maps are being written", state.name()));
            }
            (state, why) => explanation.notes.push(format!("the Service is {}: {why}", state.name())),
        }
        let Some(listed) = detail.service.ports.iter().find(|port| dialled.is(port)) else {
            let listed: Vec<_> = explanation.ports.iter().map(ToString::to_string).collect();
            let summary = match listed.as_slice() {
                [] => "the Service lists no port that can be served".to_owned(),
                ports => format!("Service {key} does not list this port; it lists {}", ports.join(", ")),
            };
            refuse(explanation, Reason::NoSuchPort, &summary);
            return;
        };
        if dialled.frontend.is_node_port() {
            let whose = if dialled.address.is_loopback() {
                ": at a loopback address for clients in the node's own network only"
            } else {
                " at a node's address"
            };
            explanation.notes.push(format!("a NodePort{whose}"));
        }
        self.at_a_port(&detail, dialled, listed, explanation);
    }

    fn at_a_port(
        &self,
        detail: &ServiceDetail<'_>,
        dialled: Dialled,
        listed: &ServicePort,
        explanation: &mut Explanation,
    ) {
        let v6 = dialled.address.is_ipv6();
        let frontend = dialled.frontend;
        let Some(view) = self.state.ports(detail).into_iter().find(|view| view.frontends.contains(&frontend)) else {
            return;
        };
        let counts = self.reconciler.service_counts(&detail.service.key);
        let policy = detail.policy.map(|policy| policy.policy);
        let algorithm = policy.and_then(|policy| policy.algorithm_of(listed.port)).unwrap_or_default();
        let limits = policy.map(|policy| policy.limits).unwrap_or_default();
        let rule = Rule {
            algorithm: algorithm.name().to_owned(),
            hash: hash(policy),
            affinity_timeout_seconds: affinity_seconds(detail.service),
            policy: policy.map(|policy| policy_name(policy, &detail.service.key)),
            policy_kind: policy.map(|policy| policy.kind.to_string()),
            scope: view.scope.name().to_owned(),
            internal_traffic_policy: internal_traffic_policy(detail.service.internal_traffic_policy).to_owned(),
            traffic_distribution: traffic_distribution(detail.service.traffic_distribution).to_owned(),
            active: counts.as_ref().map_or(0, |counts| counts.active),
            max_connections: counts.as_ref().and_then(|counts| limit(counts.max_connections)),
            max_connections_per_backend: counts.as_ref().and_then(|counts| limit(counts.max_connections_per_backend)),
            traffic: (&limits).into(),
        };
        let wanted = port(view.port);
        let backends: Vec<_> = self
            .backends_of(detail)
            .into_iter()
            .filter(|b| {
                b.v6 == v6 && (b.internal, b.fenced) == (view.internal, view.fenced) && b.port.as_ref() == Some(&wanted)
            })
            .collect();
        // A limit that only observes refuses nobody.
        let full = !rule.traffic.observe && rule.max_connections.is_some_and(|most| rule.active >= most);
        let shares = if full { HashMap::new() } else { self.shares(counts.as_ref(), &frontend) };
        let all_out = !backends.iter().any(|backend| backend.state == BackendState::Eligible);
        explanation.backends = backends.iter().map(|backend| candidate(backend, all_out, &shares)).collect();
        if algorithm == Algorithm::Maglev {
            let note = "Maglev: each client keeps to one of them; NEXT is the part of all clients";
            explanation.notes.push(note.to_owned());
        }
        self.note_places(policy.map(|policy| policy.balance_of(listed.port)), &backends, explanation);
        self.note_slow_start(detail, &backends, explanation);
        notes::limits(&rule.traffic, explanation);
        self.note_rate(counts.as_ref(), &rule, explanation);
        notes::endings(detail.service, policy, listed, explanation);

        let client = explanation.client.as_ref().and_then(|client| client.address);
        if view.fenced {
            let ranges: Vec<_> = detail.service.source_ranges.iter().map(ToString::to_string).collect();
            explanation.notes.push(format!("only clients in loadBalancerSourceRanges come in: {}", ranges.join(", ")));
        }
        if policy.is_some_and(|policy| policy.outlier_of(dialled.port).is_some()) && dialled.protocol == Protocol::Tcp {
            notes::ejection(counts.as_ref(), all_out, explanation);
            notes::health_check(policy, explanation);
        }

        let in_slots = [BackendState::Eligible, BackendState::Ejected];
        let eligible = backends.iter().filter(|backend| in_slots.contains(&backend.state)).count();
        let with_room = explanation.backends.iter().filter(|candidate| candidate.is_in).count();
        // Where all are full and that is only observed, any of them takes it.
        let with_room = if rule.traffic.observe && with_room == 0 { eligible } else { with_room };
        if let Some(client) = client.filter(|client| view.fenced && !detail.service.is_in_range(*client)) {
            let summary = format!("{client} is in none of loadBalancerSourceRanges of Service {}", detail.service.key);
            refuse(explanation, Reason::SourceRange, &summary);
        } else if eligible == 0 {
            let summary = match backends.len() {
                0 => format!("Service {} has no endpoint for this port", detail.service.key),
                n => format!("none of the {n} endpoints of Service {} is eligible", detail.service.key),
            };
            refuse(explanation, Reason::NoBackend, &summary);
        } else if let (true, Some(most)) = (full, rule.max_connections) {
            let summary = format!(
                "Service {} is at its limit: {} of {most} connections are open",
                detail.service.key, rule.active
            );
            refuse(explanation, Reason::ServiceLimit, &summary);
        } else if with_room == 0 {
            let summary = format!("each of the {eligible} eligible backends is at its limit");
            refuse(explanation, Reason::BackendLimit, &summary);
        } else {
            explanation.outcome = Outcome::Balanced;
            explanation.summary = match with_room {
                1 => format!("goes to the one backend of Service {} that takes it", detail.service.key),
                n => format!("goes to one of {n} backends of Service {}", detail.service.key),
            };
            explanation.likely = likely(&explanation.backends);
            if let (Some(seconds), 2..) = (rule.affinity_timeout_seconds, with_room) {
                explanation.notes.push(format!(
                    "session affinity: a client (a network namespace) that connected within {seconds} s goes to its \
                     backend again while that one is in; the shares are those of a client that comes for the first time"
                ));
            }
        }
        explanation.rule = Some(rule);
    }

    /// Says whether the Service's rate lets the next connection in.
    fn note_rate(&self, counts: Option<&ServiceCounts>, rule: &Rule, explanation: &mut Explanation) {
        let Some(rate) = rule.traffic.connections_per_second else { return };
        let entry = counts.and_then(|counts| self.reconciler.maps().arrays().traffic(counts.account));
        let now = monotonic();
        let wait = entry.map_or(0, |entry| {
            let (cost, burst) = (entry.rate_cost.load(), entry.rate_burst.load());
            (entry.spent_until.load().clamp(now, now + burst) + cost).saturating_sub(now + burst)
        });
        explanation.notes.push(match wait {
            0 => format!("{rate} new connections a second (connectionsPerSecond); the next is within it"),
            wait => format!(
                "{rate} new connections a second (connectionsPerSecond) are spent: the next is due in {} ms",
                wait.div_ceil(1_000_000)
            ),
        });
    }

    /// Says which backends are new and take less than their share.
    fn note_slow_start(&self, detail: &ServiceDetail<'_>, backends: &[Judged<'_>], explanation: &mut Explanation) {
        let traffic = self.reconciler.applied().account_of(&detail.service.key).map(|account| account.traffic);
        let Some(slow) = traffic.and_then(|traffic| traffic.slow_start) else { return };
        let arrays = self.reconciler.maps().arrays();
        for backend in backends.iter().filter(|backend| backend.state == BackendState::Eligible) {
            let Some(entry) = backend.id.and_then(|id| arrays.backend(id)) else { continue };
            let age = monotonic().saturating_sub(entry.since.load());
            let percent = slow_start::share(&slow.ramp, slow.from, slow.window, age) * 100.0;
            if age < slow.window {
                let address = SocketAddr::new(backend.key.address.into(), backend.key.port.host());
                let left = (slow.window - age).div_ceil(1_000_000_000);
                explanation
                    .notes
                    .push(format!("{address} is new: it takes {percent:.0}% of its share, all of it in {left} s"));
            }
        }
    }

    /// The probability of each backend of a port, by key, from its slots as they are in the maps.
    fn shares(
        &self,
        counts: Option<&ServiceCounts>,
        frontend: &FrontendKey,
    ) -> HashMap<mesh_common::tables::BackendId, f64> {
        let Some(counts) = counts else { return HashMap::new() };
        let Some(port) = counts.ports.iter().find(|port| port.frontends.contains(frontend)) else {
            return HashMap::new();
        };
        let arrays = self.reconciler.maps().arrays();
        let cursor = arrays.service(port.id).map_or(0, |entry| entry.cursor.load());
        let by_id: HashMap<_, _> = counts.backends.iter().map(|backend| (backend.id, backend)).collect();
        let nothing = Load { active: u64::MAX, weight: 1 };
        let slot = |id| {
            let backend = by_id.get(id);
            let load = backend.map_or(nothing, |backend| backend.load());
            let out = backend.is_some_and(|backend| port.rule.outlier && counts.is_out(backend));
            Slot { has_room: load.active < counts.max_connections_per_backend, out, load }
        };
        let slots: Vec<Slot> = port.slots.iter().map(slot).collect();
        let mut shares = HashMap::new();
        for (id, share) in port.slots.iter().zip(likelihood::of_slots(port.rule.algorithm, cursor, &slots)) {
            *shares.entry(*id).or_default() += share;
        }
        shares
    }
}

/// What Maglev hashes by a policy; `None` for another algorithm.
pub(super) fn hash(policy: Option<&Policy>) -> Option<String> {
    let policy = policy.filter(|policy| policy.algorithm == Some(Algorithm::Maglev))?;
    Some(policy.balance.hash.name().to_owned())
}

fn refuse(explanation: &mut Explanation, reason: Reason, summary: &str) {
    explanation.outcome = Outcome::Refused;
    explanation.reason = Some(reason.name().to_owned());
    explanation.summary = format!("{summary}; the client gets ECONNREFUSED");
}

fn candidate(backend: &Judged<'_>, all_out: bool, shares: &HashMap<mesh_common::tables::BackendId, f64>) -> Candidate {
    let text = |pick: fn(&Endpoint) -> &str| backend.endpoint.map(pick).unwrap_or_default().to_owned();
    let eligible = backend.state == BackendState::Eligible || all_out && backend.state == BackendState::Ejected;
    let full = backend.max_connections.is_some_and(|most| backend.active >= most);
    let why = match backend.max_connections {
        Some(most) if eligible && full => format!("at its limit: {} of {most} connections are open", backend.active),
        _ => backend.why.clone(),
    };
    Candidate {
        address: backend.key.address.into(),
        port: backend.key.port.host(),
        pod: text(|endpoint| &endpoint.pod),
        node: text(|endpoint| &endpoint.node),
        zone: text(|endpoint| &endpoint.zone),
        region: String::new(),
        is_in: eligible && !full,
        weight: backend.weight,
        why,
        active: backend.active,
        probability: backend.id.and_then(|id| shares.get(&id).copied()).unwrap_or_default(),
    }
}

/// The likely choice in words.
fn likely(candidates: &[Candidate]) -> String {
    let mut candidates: Vec<_> = candidates.iter().filter(|candidate| candidate.probability > 0.0).collect();
    candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let address = |candidate: &Candidate| SocketAddr::new(candidate.address, candidate.port);
    match candidates.as_slice() {
        [] => String::new(),
        [only] => address(only).to_string(),
        [first, .., last] if (first.probability - last.probability).abs() < 1e-9 => {
            format!("any of the {}, each with the same probability", candidates.len())
        }
        [first, ..] => format!("{}, with {:.0}%", address(first), first.probability * 100.0),
    }
}
