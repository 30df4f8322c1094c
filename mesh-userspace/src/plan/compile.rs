//! A Service and its endpoints, seen from this node, into what the maps should hold.

use super::eligible::{self, Here, Scope, Verdict, Why};
use super::{BackendKey, DesiredPort, DesiredService};
use crate::model::{Endpoint, EndpointSlice, Policy, Service, ServicePort};
use mesh_common::address::{Address, Port};
use mesh_common::tables::{FrontendKey, UNLIMITED};
use std::collections::HashMap;
use std::net::IpAddr;

/// A Service with all that decides what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Those of its addresses that are its own: no older Service has them.
    pub addresses: &'a [IpAddr],
    /// Its endpoint slices.
    pub slices: &'a [EndpointSlice],
    /// The policy in force.
    pub policy: Option<&'a Policy>,
}

/// One port of one family with every endpoint that could serve it.
#[derive(Clone, Debug)]
pub struct PortView<'a> {
    /// The Service's port.
    pub port: &'a ServicePort,
    /// Whether this is the IPv6 half.
    pub v6: bool,
    /// By what rule the endpoints are narrowed down.
    pub scope: Scope,
    /// Every endpoint, in the order of the slices.
    pub candidates: Vec<Candidate<'a>>,
}

/// An endpoint of a port, and whether it takes new connections.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The backend that it would be.
    pub backend: BackendKey,
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// Whether it takes new connections, and why not.
    pub verdict: Verdict,
}

/// What the maps should hold; `None` for a Service that is not served.
pub fn compile(view: ServiceView<'_>, here: Here<'_>) -> Option<DesiredService> {
    if view.addresses.is_empty() {
        return None;
    }
    let limits = view.policy.map(|policy| policy.limits).unwrap_or_default();
    Some(DesiredService {
        addresses: view.addresses.iter().copied().map(Address::from).collect(),
        ports: ports(view, here).map(|port| desired(view, &port)).collect(),
        max_connections: limits.max_connections.unwrap_or(UNLIMITED),
        max_connections_per_backend: limits.max_connections_per_backend.unwrap_or(UNLIMITED),
    })
}

/// Each port of each family that the Service has an address of, with its endpoints judged.
pub fn ports<'a>(view: ServiceView<'a>, here: Here<'a>) -> impl Iterator<Item = PortView<'a>> {
    let families = [false, true].into_iter().filter(move |&v6| view.addresses.iter().any(|ip| ip.is_ipv6() == v6));
    families.flat_map(move |v6| view.service.ports.iter().map(move |port| judge(view, port, v6, here)))
}

fn judge<'a>(view: ServiceView<'a>, port: &'a ServicePort, v6: bool, here: Here<'_>) -> PortView<'a> {
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for slice in view.slices.iter().filter(|slice| slice.v6 == v6) {
        // Each slice has its own target for a named port (SEMANTICS 9).
        let targets = slice.ports.iter().filter(|target| target.name == port.name && target.protocol == port.protocol);
        for target in targets {
            candidates.extend(slice.endpoints.iter().map(|endpoint| Candidate {
                backend: BackendKey {
                    address: endpoint.address.into(),
                    port: Port::from_host(target.port),
                    protocol: port.protocol,
                },
                endpoint,
                verdict: Verdict::Out(Why::Duplicate),
            }));
        }
    }
    let unique = unique(&candidates, here);
    let endpoints: Vec<&Endpoint> = unique.iter().map(|&position| candidates[position].endpoint).collect();
    let scope = eligible::scope(endpoints.iter().copied(), view.service.internal_traffic_policy, here);
    for (position, verdict) in unique.into_iter().zip(eligible::verdicts(&endpoints, scope, here)) {
        candidates[position].verdict = verdict;
    }
    PortView { port, v6, scope, candidates }
}

/// One position for each backend. While an endpoint moves from one slice to another both list it, and one of them is
/// out of date: the more useful one is believed, as the pod that an address names now is the one that became ready.
fn unique(candidates: &[Candidate<'_>], here: Here<'_>) -> Vec<usize> {
    let usefulness = |candidate: &Candidate<'_>| {
        let endpoint = candidate.endpoint;
        (endpoint.ready, endpoint.serving, *endpoint.node == *here.node, !endpoint.terminating)
    };
    let mut best = HashMap::<BackendKey, usize>::with_capacity(candidates.len());
    for (position, candidate) in candidates.iter().enumerate() {
        let known = best.entry(candidate.backend).or_insert(position);
        if usefulness(candidate) > usefulness(&candidates[*known]) {
            *known = position;
        }
    }
    let mut positions: Vec<usize> = best.into_values().collect();
    positions.sort_unstable();
    positions
}

fn desired(view: ServiceView<'_>, port: &PortView<'_>) -> DesiredPort {
    let number = Port::from_host(port.port.port);
    let addresses = view.addresses.iter().filter(|ip| ip.is_ipv6() == port.v6);
    let backends = |wanted: &dyn Fn(&Candidate<'_>) -> bool| {
        let chosen = port.candidates.iter().filter(|candidate| wanted(candidate));
        let mut backends: Vec<BackendKey> = chosen.map(|candidate| candidate.backend).collect();
        backends.sort_unstable();
        backends
    };
    DesiredPort {
        frontends: addresses.map(|&ip| FrontendKey::new(ip.into(), number, port.port.protocol)).collect(),
        algorithm: view.policy.and_then(|policy| policy.algorithm).unwrap_or_default(),
        affinity_timeout: view.service.session_affinity.map_or(0, |timeout| timeout.as_nanos() as u64),
        slots: backends(&|candidate| candidate.verdict.is_in()),
        kept: backends(&|candidate| match candidate.verdict {
            Verdict::Ready | Verdict::ServingTerminating | Verdict::Out(Why::Duplicate) => false,
            Verdict::Out(_) => candidate.endpoint.serving,
        }),
        end_gone: view.service.drain.ends(port.port.protocol),
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
