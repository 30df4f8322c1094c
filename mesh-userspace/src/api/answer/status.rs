//! The agent and its data path at one glance.

use super::{Facts, inbound, name, problems};
use crate::agent::engine::Engine;
use crate::api::query::Vitals;
use crate::api::types::{
    Audit, Connections, EventCounts, Finding, Health, MapUsage, Program, ServiceCounts, ServiceState, Source, Status,
    Synchronisation, Waiting, WaitingState,
};
use crate::maps::{KernelMaps, Maps};
use crate::model::ServiceKey;
use crate::reconcile::{Pending, State};
use jiff::Timestamp;
use mesh_common::reason::Reason;
use mesh_common::tables::{ABI_VERSION, ServiceId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The status.
pub(super) fn status(engine: &Engine, facts: &Facts<'_, KernelMaps>) -> Status {
    let totals = totals(facts);
    let findings = facts.findings();
    let programs = programs(engine);
    let waiting: Vec<Waiting> = facts.waiting.iter().map(|(key, pending)| waits(key, pending)).collect::<Vec<_>>();
    let waiting = sorted(waiting);
    let sources = vec![source(engine, &findings)];
    let audit = engine.audit.as_ref().map(|(at, audit)| Audit {
        at: *at,
        connections: audit.connections as u64,
        given_back: u64::from(audit.given_back),
        drifted: (audit.drift.len() - audit.repaired.len()) as u64,
        repaired: engine.repaired,
    });
    let mut problems = found_problems(&findings, &waiting, &sources, audit.as_ref());
    let starting = is_starting(engine);
    if !starting {
        let missing: Vec<_> = programs.iter().filter(|p| !p.in_force).map(|p| p.hook.as_str()).collect();
        if !missing.is_empty() {
            problems.push(format!("not in force: {}; start the agent anew, and see mesh doctor", missing.join(", ")));
        }
    }
    problems.extend(inbound::problems(engine.inbound()));
    problems
        .extend(engine.ending_errors.iter().flatten().map(|error| format!("connections could not be ended: {error}")));
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abi: ABI_VERSION,
        node: engine.state.here().node.to_owned(),
        zone: engine.state.here().zone.to_owned(),
        pid: std::process::id(),
        since: engine.since,
        node_eligible: !engine.state.is_deleting(),
        health: match (starting, problems.is_empty()) {
            (true, _) => Health::Starting,
            (false, true) => Health::Ok,
            (false, false) => Health::Degraded,
        },
        problems,
        cgroup: engine.config.datapath.cgroup.display().to_string(),
        pins: engine.config.datapath.pins.display().to_string(),
        sources,
        findings,
        maps: maps(engine, totals.connections.active),
        programs,
        services: services(facts),
        synchronisation: Synchronisation {
            last: engine.progress.last(),
            first_seconds: engine.progress.first().map(|time| time.as_secs_f64()),
            changes: engine.progress.changes(),
            mean_seconds: engine.progress.mean(),
            failures: engine.reconciler.tries().failures,
            retries: engine.reconciler.tries().retries,
        },
        left_alone: left_alone(engine),
        waiting,
        connections: totals.connections,
        refusals: totals.refusals,
        inbound: inbound::status(engine.inbound()),
        events: EventCounts {
            read: engine.events_read,
            lost: engine.reconciler.maps().arrays().settings.events_lost.load(),
        },
        audit,
    }
}

fn left_alone(engine: &Engine) -> Vec<String> {
    let word = |found: bool| if found { "" } else { " (not found)" };
    let pods = engine.pods().left_alone();
    let mut names: Vec<_> = pods.map(|(pod, found)| format!("{}/{}{}", pod.namespace, pod.name, word(found))).collect();
    names.sort_unstable();
    names
}

/// What probes ask for.
pub(super) fn vitals(engine: &Engine) -> Vitals {
    let broken = programs(engine).into_iter().filter(|program| !program.in_force).map(|program| program.hook);
    Vitals {
        starting: is_starting(engine),
        broken: broken.collect(),
        node_eligible: !engine.state.is_deleting(),
        last_updated: engine.progress.last(),
    }
}

fn is_starting(engine: &Engine) -> bool {
    !engine.state.is_synced() || engine.programs.is_empty()
}

/// What needs attention, apart from the programs.
fn found_problems(findings: &[Finding], waiting: &[Waiting], sources: &[Source], audit: Option<&Audit>) -> Vec<String> {
    let mut problems = Vec::new();
    for (severity, is, are) in [
        ("rejected", "object is rejected", "objects are rejected"),
        ("conflict", "object is in conflict", "objects are in conflict"),
    ] {
        match findings.iter().filter(|finding| finding.severity == severity).count() {
            0 => {}
            1 => problems.push(format!("1 {is}: see the findings")),
            n => problems.push(format!("{n} {are}: see the findings")),
        }
    }
    let failed = waiting.iter().filter(|waiting| waiting.state == WaitingState::Failed);
    problems.extend(failed.map(|waiting| format!("Service {}: {}", waiting.service, waiting.message)));
    problems.extend(
        sources.iter().filter_map(|source| source.error.as_ref().map(|error| format!("{}: {error}", source.name))),
    );
    if let Some(audit) = audit.filter(|audit| audit.drifted > 0) {
        problems
            .push(format!("{} counts do not agree with the open connections: report this as a defect", audit.drifted));
    }
    problems
}

struct Totals {
    connections: Connections,
    refusals: BTreeMap<String, u64>,
}

/// Sums over everything that the maps count, what an earlier agent left included.
fn totals(facts: &Facts<'_, KernelMaps>) -> Totals {
    let arrays = facts.reconciler.maps().arrays();
    let mut connections = Connections::default();
    let mut entries: BTreeSet<ServiceId> = BTreeSet::new();
    for account in facts.reconciler.applied().accounts() {
        connections.active += arrays.service(account.id).map_or(0, |entry| entry.active.load());
        for port in &account.ports {
            connections.opened += arrays.service(port.id).map_or(0, |entry| entry.opened.load());
        }
        entries.insert(account.id);
        entries.extend(account.ports.iter().map(|port| port.id));
    }
    let mut sums = [0_u64; Reason::ALL.len()];
    for id in entries {
        for (sum, cell) in sums.iter_mut().zip(arrays.reasons(id).unwrap_or_default()) {
            *sum += cell.load();
        }
    }
    connections.spilled = sums[Reason::Spilled as usize];
    connections.flow_kept = sums[Reason::FlowKept as usize];
    connections.affinity_kept = sums[Reason::Affinity as usize];
    let refusals = Reason::ALL.into_iter().zip(sums).filter(|(reason, _)| reason.is_refusal());
    Totals { connections, refusals: refusals.map(|(reason, sum)| (reason.name().to_owned(), sum)).collect() }
}

fn services(facts: &Facts<'_, KernelMaps>) -> ServiceCounts {
    let mut counts = ServiceCounts::default();
    let details = facts.state.services().into_iter().filter_map(|service| facts.state.service(&service.key));
    for detail in details {
        match facts.state_of(&detail).0 {
            ServiceState::Ignored => counts.ignored += 1,
            ServiceState::Pending | ServiceState::Failed => counts.waiting += 1,
            ServiceState::Served => {
                counts.served += 1;
                let account = facts.reconciler.applied().account_of(&detail.service.key);
                let empty = account.is_some_and(|account| account.ports.iter().all(|port| port.slots.is_empty()));
                counts.without_backends += u64::from(empty);
            }
        }
    }
    counts
}

fn waits(key: &ServiceKey, pending: &Pending) -> Waiting {
    let (state, attempts, next_retry) = match &pending.state {
        State::Failed { attempts, retry_at, .. } => {
            let wait = retry_at.saturating_duration_since(Instant::now());
            (WaitingState::Failed, *attempts, Timestamp::now().checked_add(wait).ok())
        }
        State::Due | State::Waiting { .. } => (WaitingState::Pending, 0, None),
    };
    let message = match (problems(pending), &pending.state) {
        (message, _) if !message.is_empty() => message,
        (_, State::Waiting { .. }) => "waits until no program sees what was there before".to_owned(),
        _ => "its writes are under way".to_owned(),
    };
    Waiting { service: name(key), state, message, attempts, next_retry }
}

fn sorted(mut waiting: Vec<Waiting>) -> Vec<Waiting> {
    waiting.sort_by(|a, b| a.service.cmp(&b.service));
    waiting
}

fn source(engine: &Engine, findings: &[Finding]) -> Source {
    let counts = engine.state.counts();
    // What concerns no document concerns the directory.
    let trouble = findings.iter().find(|finding| finding.object.is_none() && finding.document == Some(0));
    Source {
        name: engine.source.clone(),
        synced: engine.state.is_synced(),
        last_change: engine.last_change,
        files: counts.files,
        documents: counts.documents,
        objects: engine.state.objects().into_iter().map(|(kind, count)| (kind.to_string(), count as u64)).collect(),
        passed_over: counts.passed_over.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        error: trouble.map(|finding| finding.message.clone()).or_else(|| not_followed(engine)),
    }
}

/// What the source does not follow at present, and since when.
fn not_followed(engine: &Engine) -> Option<String> {
    let first = engine.state.troubles().first()?;
    let kinds: Vec<&str> = engine.state.troubles().iter().map(|trouble| &*trouble.what).collect();
    Some(format!(
        "{} not followed since {}, the last state serves: {}",
        kinds.join(", "),
        first.since.strftime("%H:%M:%S"),
        first.message
    ))
}

/// How full the maps are that can be. Each connection is counted once on its account.
fn maps(engine: &Engine, active: u64) -> Vec<MapUsage> {
    let used = engine.reconciler.applied().used();
    let inbound = engine.inbound().report();
    engine
        .map_sizes()
        .filter_map(|(name, size)| {
            let used = match name {
                "FRONTENDS" => u64::from(used.frontends),
                "ADDRESSES" => u64::from(used.addresses),
                "SERVICES" => u64::from(used.services),
                "SLOTS" => u64::from(used.slots),
                "BACKENDS" => u64::from(used.backends),
                "CONNECTIONS" => active,
                "INBOUND_BACKENDS" => inbound.backends,
                "INBOUND_CONNECTIONS" => inbound.records,
                _ => return None,
            };
            Some(MapUsage { name: name.to_owned(), used, size: u64::from(size) })
        })
        .collect()
}

fn programs(engine: &Engine) -> Vec<Program> {
    let cgroup = engine.cgroup().id();
    let ours = |hook: &str, program: u32| engine.programs.get(hook) == Some(&program);
    engine
        .attached()
        .map(|(hook, attached)| Program {
            hook: hook.to_owned(),
            program_id: attached.map_or(0, |attached| attached.program),
            attached: attached.is_some_and(|attached| attached.cgroup != 0),
            in_force: attached.is_some_and(|a| a.cgroup == cgroup && ours(hook, a.program)),
        })
        .collect()
}
