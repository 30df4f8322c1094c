//! A Service and its endpoints, seen from this node, into what the maps should hold.

use super::eligible::{self, Scope, Verdict, Why};
use super::locality::Localities;
use super::{BackendKey, DesiredPort, DesiredService, Endings, balance};
use crate::model::{
    Endpoint, EndpointSlice, InternalTrafficPolicy, Lifetime, OutlierDetection, Place, Policy, Rate, Service,
    ServicePort, SlowStart,
};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::select::{Algorithm, maglev, slow_start, weighted};
use mesh_common::tables::{self, FrontendKey, OutlierRule, Thresholds, TrafficRule, UNLIMITED};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// A Service with all that decides what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Those of its addresses that are its own: no older Service has them.
    pub addresses: &'a [IpAddr],
    /// What clients dial besides these: at addresses of load balancers, at external IPs, at nodes' addresses.
    pub externals: &'a [FrontendKey],
    /// Its endpoint slices.
    pub slices: &'a [EndpointSlice],
    /// The policy in force.
    pub policy: Option<&'a Policy>,
    /// Where the nodes are.
    pub localities: &'a Localities,
    /// Its backends that are ejected now, as far as a policy's order goes by that.
    pub ejected: Option<&'a BTreeSet<BackendKey>>,
}

/// One port of one family with every endpoint that could serve it. A port whose outer addresses are served by another
/// rule than its ClusterIP comes once more for these, and once more for those that not everybody may reach.
#[derive(Clone, Debug)]
pub struct PortView<'a> {
    /// The Service's port.
    pub port: &'a ServicePort,
    /// Whether this is the IPv6 half.
    pub v6: bool,
    /// What clients dial.
    pub frontends: Vec<FrontendKey>,
    /// Whether the ClusterIP is among that.
    pub internal: bool,
    /// Whether only clients in `loadBalancerSourceRanges` may come in.
    pub fenced: bool,
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
    /// Its weight against the port's other endpoints; 0 when it takes none.
    pub weight: u32,
}

/// What the maps should hold; `None` for a Service that is not served.
pub fn compile(view: ServiceView<'_>, here: Place<'_>) -> Option<DesiredService> {
    if view.addresses.is_empty() {
        return None;
    }
    let limits = view.policy.map(|policy| policy.limits).unwrap_or_default();
    let mut weights = BTreeMap::new();
    let mut fewest = None;
    let ports = ports(view, here).map(|port| {
        let desired = desired(view, &port);
        if desired.outlier && !desired.slots.is_empty() {
            let judged = port.candidates.iter().filter(|candidate| candidate.verdict.is_judged()).count() as u64;
            fewest = Some(fewest.map_or(judged, |fewest: u64| fewest.min(judged)));
        }
        if desired.algorithm == Algorithm::LeastConnections {
            let weighted = port.candidates.iter().filter(|candidate| candidate.weight > 1);
            weights.extend(weighted.map(|candidate| (candidate.backend, candidate.weight)));
        }
        desired
    });
    let ports: Vec<DesiredPort> = ports.collect();
    Some(DesiredService {
        addresses: view.addresses.iter().copied().map(Address::from).collect(),
        nodes: false,
        outlier: view
            .policy
            .and_then(|policy| policy.outlier)
            .map(|of| outlier(&of, fewest.unwrap_or(0)))
            .unwrap_or_default(),
        probe: view.policy.and_then(|policy| policy.outlier?.probe),
        ports,
        max_connections: limits.max_connections.unwrap_or(UNLIMITED),
        max_connections_per_backend: limits.max_connections_per_backend.unwrap_or(UNLIMITED),
        traffic: view.policy.map(traffic).unwrap_or_default(),
        weights,
    })
}

/// What a policy asks for beyond limits and algorithm.
fn traffic(policy: &Policy) -> TrafficRule {
    let slow_start = |&SlowStart { window_seconds, min_percent, aggression }: &SlowStart| tables::SlowStart {
        window: u64::from(window_seconds) * 1_000_000_000,
        from: (min_percent.min(100) * u32::from(u16::MAX) / 100) as u16,
        ramp: slow_start::ramp(min_percent, aggression),
    };
    let limits = &policy.limits;
    let rate = |rate: Rate| tables::Rate::per_second(rate.per_second, rate.burst);
    TrafficRule {
        slow_start: policy.balance.slow_start.as_ref().map(slow_start),
        observe: limits.observe,
        client_limit: limits.max_connections_per_client,
        rate: limits.rate.map(rate),
        client_rate: limits.client_rate.map(rate),
        flows: limits
            .flows
            .map(|flows| tables::FlowLimit { most: flows.most, idle: u64::from(flows.idle_seconds) * 1_000_000_000 }),
    }
}

/// When backends are ejected. One count holds for all ports: so many may be ejected that no port loses more than its part, of the
/// endpoints of the port that has fewest; those that wait for nearer ones to go are among them.
fn outlier(detection: &OutlierDetection, fewest: u64) -> OutlierRule {
    let part = |percent: u32| fewest * u64::from(percent.min(100)) / 100;
    OutlierRule {
        thresholds: Thresholds { connects: detection.connects, resets: detection.resets, slow: detection.slow },
        base_ejection: detection.base_ejection,
        max_ejection: detection.max_ejection,
        interval: detection.interval,
        allowed: part(detection.max_ejection_percent),
        ignored_above: part(100 - detection.min_health_percent.min(100)),
    }
}

/// Each port of each family that the Service has an address of, with its endpoints judged.
pub fn ports<'a>(view: ServiceView<'a>, here: Place<'a>) -> impl Iterator<Item = PortView<'a>> {
    let families = [false, true].into_iter().filter(move |&v6| view.addresses.iter().any(|ip| ip.is_ipv6() == v6));
    families.flat_map(move |v6| {
        view.service.ports.iter().flat_map(move |port| {
            let policy = view.service.internal_traffic_policy;
            let inner = frontends(view, port, v6);
            let (fenced, outer): (Vec<_>, Vec<_>) =
                externals(view, port, v6).into_iter().partition(|key| view.service.is_fenced(key.address.into()));
            let all = InternalTrafficPolicy::Cluster;
            let fenced =
                (!fenced.is_empty()).then(|| PortView { fenced: true, ..judge(view, port, v6, (fenced, all), here) });
            // internalTrafficPolicy is about the ClusterIP. By its other addresses clients in the cluster reach all endpoints,
            // whatever externalTrafficPolicy says (SEMANTICS 5).
            let apart = policy == InternalTrafficPolicy::Local && !outer.is_empty();
            let cluster = apart.then(|| judge(view, port, v6, (outer.clone(), all), here));
            let inner = if apart { inner } else { [inner, outer].concat() };
            let first = PortView { internal: true, ..judge(view, port, v6, (inner, policy), here) };
            std::iter::once(first).chain(cluster).chain(fenced)
        })
    })
}

fn frontends(view: ServiceView<'_>, port: &ServicePort, v6: bool) -> Vec<FrontendKey> {
    let addresses = view.addresses.iter().filter(|ip| ip.is_ipv6() == v6);
    addresses.map(|&ip| FrontendKey::new(ip.into(), Port::from_host(port.port), port.protocol)).collect()
}

fn externals(view: ServiceView<'_>, port: &ServicePort, v6: bool) -> Vec<FrontendKey> {
    let is_of = |key: &&FrontendKey| {
        let number = if key.is_node_port() { port.node_port } else { Some(port.port) };
        key.address.is_v4() != v6 && Some(key.port.host()) == number && key.protocol() == port.protocol
    };
    view.externals.iter().filter(is_of).copied().collect()
}

fn judge<'a>(
    view: ServiceView<'a>,
    port: &'a ServicePort,
    v6: bool,
    (frontends, policy): (Vec<FrontendKey>, InternalTrafficPolicy),
    here: Place<'_>,
) -> PortView<'a> {
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
                weight: 0,
            }));
        }
    }
    let unique = unique(&candidates, here);
    let endpoints: Vec<&Endpoint> = unique.iter().map(|&position| candidates[position].endpoint).collect();
    let scope = eligible::scope(endpoints.iter().copied(), policy, here);
    let mut verdicts = eligible::verdicts(&endpoints, scope, here);
    let weights = match view.policy {
        Some(policy) => {
            let is_out =
                |&position: &usize| view.ejected.is_some_and(|out| out.contains(&candidates[position].backend));
            let ejected: Vec<bool> = unique.iter().map(is_out).collect();
            let balance = policy.balance_of(port.port);
            balance::weigh(balance, &endpoints, &mut verdicts, here, view.localities, &ejected)
        }
        None => verdicts.iter().map(|verdict| u32::from(verdict.is_in())).collect(),
    };
    for ((position, verdict), weight) in unique.into_iter().zip(verdicts).zip(weights) {
        candidates[position].verdict = verdict;
        candidates[position].weight = weight;
    }
    PortView { port, v6, frontends, internal: false, fenced: false, scope, candidates }
}

/// One position for each backend. While an endpoint moves from one slice to another both list it, and one of them is
/// out of date: the more useful one is believed, as the pod that an address names now is the one that became ready.
fn unique(candidates: &[Candidate<'_>], here: Place<'_>) -> Vec<usize> {
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
    let algorithm = view.policy.and_then(|policy| policy.algorithm_of(port.port.port)).unwrap_or_default();
    let balance = view.policy.map(|policy| policy.balance_of(port.port.port));
    let kept = |candidate: &&Candidate<'_>| match candidate.verdict {
        Verdict::Ready | Verdict::ServingTerminating | Verdict::Out(Why::Duplicate) => false,
        Verdict::Out(_) => candidate.endpoint.serving,
    };
    let mut kept: Vec<BackendKey> = port.candidates.iter().filter(kept).map(|candidate| candidate.backend).collect();
    kept.sort_unstable();
    DesiredPort {
        frontends: port.frontends.clone(),
        fenced: port.fenced,
        algorithm,
        hash: balance.map(|balance| balance.hash).unwrap_or_default(),
        outlier: port.port.protocol == Protocol::Tcp
            && view.policy.is_some_and(|policy| policy.outlier_of(port.port.port).is_some()),
        affinity_timeout: view.service.session_affinity.map_or(0, |timeout| timeout.as_nanos() as u64),
        slots: slots(algorithm, balance.map_or(0, |balance| balance.table_size), &port.candidates),
        kept,
        endings: endings(view, port.port),
    }
}

/// When the connections of a port are ended.
fn endings(view: ServiceView<'_>, port: &ServicePort) -> Endings {
    let asked = view.policy.map(|policy| policy.drain).unwrap_or_default();
    let lifetime = view.policy.map(|policy| policy.lifetime_of(port.port)).unwrap_or_default();
    let Lifetime { idle, longest } = if port.protocol == Protocol::Tcp { lifetime } else { Lifetime::default() };
    Endings { gone: view.service.drain.or(asked).ends_after(port.protocol), idle, longest }
}

/// What each slot says: eligible backends by weight, or Maglev's table of them, of the least size asked for.
fn slots(algorithm: Algorithm, table_size: u32, candidates: &[Candidate<'_>]) -> Vec<BackendKey> {
    let mut backends: Vec<(BackendKey, u32)> = candidates
        .iter()
        .filter(|candidate| candidate.verdict.is_in())
        .map(|candidate| (candidate.backend, candidate.weight))
        .collect();
    backends.sort_unstable();
    let indices = if algorithm == Algorithm::Maglev {
        // Named after the pod's address: a client gets the same pod at every port. A pod that serves one port at two of
        // its own is two backends.
        let mut seen = HashSet::new();
        let mut entry = |&(key, weight): &(BackendKey, u32)| {
            let other = if seen.insert(key.address) { 0 } else { u64::from(key.port.host()) };
            maglev::Entry { name: maglev::name(&key.address, other), weight }
        };
        let entries: Vec<_> = backends.iter().map(&mut entry).collect();
        maglev::table(&entries, maglev::size(backends.len(), table_size))
    } else {
        weighted::slots(&backends.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
    };
    indices.into_iter().map(|index| backends[index as usize].0).collect()
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
