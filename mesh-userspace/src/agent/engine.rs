//! What the owner of the state owns, and each thing that it does; nothing here waits.

use super::clock;
use super::complaints::Complaints;
use super::drains::Drains;
use super::ejected::Probes;
use super::failover::Failovers;
use super::lifetimes::Lifetimes;
use super::memory;
use super::pods::Pods;
use super::ring;
use super::tombstones::Tombstones;
use crate::api::query::EventFeed;
use crate::api::types;
use crate::config::{AgentConfig, EventSampling};
use crate::datapath::{self, Attached, Cgroup, HOOKS, Loaded, Pins};
use crate::inbound::Inbound;
use crate::maps::grace::Grace;
use crate::maps::{KernelFds, KernelMaps, Maps};
use crate::metrics::Progress;
use crate::model::{Finding, ServiceKey, Severity};
use crate::plan::{DesiredService, Subject};
use crate::reconcile::{Audit, GraceTicket, Problem, Reconciler, State};
use crate::report::Report;
use crate::sockets;
use crate::source::Change;
use crate::state::{ClusterState, HealthChecks};
use anyhow::Context;
use jiff::Timestamp;
use mesh_common::tables::{Connection, Event, Settings};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{broadcast, watch};

/// Events that are remembered.
const RECENT: usize = 1024;

/// The owner's whole world.
pub struct Engine {
    /// How the agent was started.
    pub config: AgentConfig,
    /// What people call the source: the manifests' directory, or the API server's URL.
    pub source: String,
    /// The cluster, as far as the sources told.
    pub state: ClusterState,
    /// The maps.
    pub reconciler: Reconciler<KernelMaps>,
    /// When the agent started.
    pub since: Timestamp,
    /// How long changes take to get into the maps.
    pub progress: Progress,
    /// When a source last reported a change.
    pub last_change: Option<Timestamp>,
    /// The last recount, and when it ended.
    pub audit: Option<(Timestamp, Audit)>,
    /// Counts that recounts have set right.
    pub repaired: u64,
    /// Connections whose sockets are to be looked for.
    pub(super) to_look_for: Vec<(u64, Connection)>,
    /// Why the last rounds of ending connections did not end all that they should: of removed endpoints, and by lifetime.
    pub ending_errors: [Vec<String>; 2],
    /// Layouts of former agents that connections still need.
    pub former_layouts: usize,
    /// Events read since the agent started.
    pub events_read: u64,
    /// The programs that this agent put in force, by hook; empty until it has.
    pub programs: HashMap<&'static str, u32>,
    complaints: Complaints,
    cgroup: Cgroup,
    loaded: Loaded,
    grace: Arc<Grace>,
    pub(super) drains: Drains,
    pub(super) lifetimes: Lifetimes,
    pub(super) probes: Probes,
    pub(super) failovers: Failovers,
    /// When the next backend's connections are to be ended, on the programs' clock.
    pub(super) next_drain: Option<u64>,
    pods: Pods,
    inbound: Inbound,
    pub(super) tombstones: Tombstones,
    listed: bool,
    /// When memory was given back to the system.
    pub(super) given_back: Timestamp,
    recent: VecDeque<Arc<types::Event>>,
    live: broadcast::Sender<Arc<types::Event>>,
    reports: watch::Sender<Option<Arc<Report>>>,
    health_checks: watch::Sender<HealthChecks>,
}

impl Engine {
    /// Takes over the maps, whatever is in them. Nothing is attached or written yet.
    pub fn new(
        config: &AgentConfig,
        source: &str,
        cgroup: Cgroup,
        loaded: Loaded,
        reports: watch::Sender<Option<Arc<Report>>>,
    ) -> anyhow::Result<Self> {
        let maps = KernelMaps::new(descriptors(loaded.pins())?)?;
        set_sampling(maps.arrays().settings, config.events);
        let netns = sockets::own_netns().context("ask for the cookie of the node's network namespace")?;
        maps.arrays().settings.node_netns.store(netns);
        let grace = Arc::new(Grace::new().context("make the map that grace periods are waited with")?);
        let reconciler = Reconciler::adopt(maps, || grace.wait())?;
        if loaded.adopted {
            tracing::info!(
                services = reconciler.applied().accounts().count(),
                "adopted what an earlier agent left in {}",
                config.datapath.pins.display()
            );
        }
        Ok(Self {
            config: config.clone(),
            source: source.to_owned(),
            state: ClusterState::new(config.node_name.as_str(), 1)
                .with_external_ips(config.external_ips)
                .with_node_ports(config.node_ports),
            reconciler,
            since: Timestamp::now(),
            progress: Progress::default(),
            last_change: None,
            audit: None,
            repaired: 0,
            to_look_for: Vec::new(),
            ending_errors: Default::default(),
            former_layouts: 0,
            events_read: 0,
            programs: HashMap::new(),
            drains: Drains::new(loaded.map("CONNECTIONS")?),
            lifetimes: Lifetimes::new(loaded.map("CONNECTIONS")?),
            probes: Probes::default(),
            failovers: Failovers::default(),
            next_drain: None,
            tombstones: Tombstones::default(),
            pods: Pods::adopt(&loaded, cgroup.path())?,
            inbound: Inbound::start(&loaded, config.tc_attach, grace.clone())?,
            complaints: Complaints::default(),
            cgroup,
            loaded,
            grace,
            listed: false,
            given_back: Timestamp::now(),
            recent: VecDeque::new(),
            live: broadcast::channel(RECENT).0,
            reports,
            health_checks: watch::channel(HealthChecks::new()).0,
        })
    }

    /// The cgroup whose sockets are served.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Name and size of every map.
    pub fn map_sizes(&self) -> impl Iterator<Item = (&str, u32)> {
        self.loaded.maps()
    }

    /// What is attached at each hook now.
    pub fn attached(&self) -> impl Iterator<Item = (&'static str, Option<Attached>)> + '_ {
        HOOKS.iter().map(|hook| (hook.name, datapath::attached(self.loaded.pins(), hook).ok().flatten()))
    }

    /// What is answered at Services' `healthCheckNodePort`s, as it changes.
    pub fn health_checks(&self) -> watch::Receiver<HealthChecks> {
        self.health_checks.subscribe()
    }

    /// Takes in what a source reported.
    pub fn apply(&mut self, changes: Vec<Change>) {
        self.progress.received();
        for change in changes {
            self.state.apply(change);
        }
        self.last_change = Some(Timestamp::now());
    }

    /// Brings the maps in line with the state, once every source has reported its first full list.
    pub fn sync(&mut self) {
        if !self.state.is_synced() {
            return;
        }
        self.progress.begin();
        for key in self.state.take_dirty() {
            self.progress.wants(&key);
            self.inbound.set(&key, self.state.inbound_limits(&key));
            let desired = self.desired(&key);
            self.reconciler.set(key, desired);
        }
        self.inbound.tell();
        if !self.listed {
            self.listed = true;
            self.reconciler.first_list_done();
        }
        if let Some(checks) = self.state.take_health_checks() {
            self.health_checks.send_replace(checks);
        }
        self.reconciler.sync(Instant::now());
        self.progress.end(|key| self.reconciler.is_pending(key));
        if self.pods.take(&mut self.state) {
            self.look_for_pods();
        }
        if let Some(rules) = self.reconciler.take_probes() {
            self.probes.set(rules, Instant::now());
        }
        if let Some(rules) = self.reconciler.take_lifetimes() {
            self.lifetimes.set(rules, clock::monotonic());
        }
    }

    /// What the maps should hold of a Service, or of what is left of it.
    fn desired(&mut self, key: &ServiceKey) -> Option<DesiredService> {
        let Some(desired) = self.state.compile(key) else {
            let is_gone = self.listed && !key.is_nodes() && self.state.service(key).is_none();
            let account = self.reconciler.applied().account_of(key).filter(|_| is_gone);
            return self.tombstones.put(key, account, Instant::now());
        };
        self.tombstones.remove(key);
        for gone in self.tombstones.make_way(&desired) {
            self.reconciler.set(gone, None);
        }
        Some(desired)
    }

    /// The limits on what arrives at this node's backends.
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// What the programs must know of this node's pods.
    pub fn pods(&self) -> &Pods {
        &self.pods
    }

    /// Looks for the cgroups of pods that were not found yet.
    pub fn look_for_pods(&mut self) {
        self.pods.look();
        self.tell_of_pods();
    }

    /// Tells the programs of the node's pods what has changed.
    fn tell_of_pods(&mut self) {
        let reconciler = &self.reconciler;
        let account = |service: &_| reconciler.applied().account_of(service).map(|account| account.id);
        if let Err(error) = self.pods.tell(reconciler.maps().arrays().settings, account) {
            tracing::warn!(%error, "the programs could not be told of the node's pods; trying again");
        }
    }

    /// Tells the log and the cluster what is wrong with objects and what did not get into the maps, and what no longer is.
    pub fn complain(&mut self) {
        let findings = self.state.findings();
        let failed = self.reconciler.pending().filter(|(_, pending)| matches!(pending.state, State::Failed { .. }));
        let problems = failed.flat_map(|(subject, pending)| pending.problems().iter().map(move |why| (subject, why)));
        let problems: Vec<(&Subject, &Problem)> = problems.collect();
        let refused = problems.iter().map(|(subject, why)| format!("{subject}: {why}; {}", why.action()));
        self.complaints.tell(findings.iter().map(ToString::to_string).chain(refused).collect());
        if self.listed && !self.reports.is_closed() {
            let refused = problems.into_iter().filter_map(|(subject, why)| no_room(subject, why));
            let of_the_server = findings.into_iter().filter(|finding| finding.origin.is_none());
            let findings = of_the_server.chain(refused).collect();
            let report = Some(Arc::new(Report { policies: self.state.policy_generations(), findings }));
            self.reports.send_if_modified(|left| {
                *left != report && {
                    *left = report;
                    true
                }
            });
        }
    }

    /// Whether the programs are to be put in force now: the maps say what the manifests say.
    pub fn is_to_attach(&self) -> bool {
        self.listed && self.programs.is_empty()
    }

    /// Puts the programs in force, and those of former layouts out of it.
    pub fn attach(&mut self) -> Result<(), datapath::Error> {
        datapath::attach(&self.loaded, &self.cgroup)?;
        self.programs = self.attached().filter_map(|(hook, attached)| Some((hook, attached?.program))).collect();
        self.retire_former();
        memory::give_back();
        self.given_back = Timestamp::now();
        tracing::info!(cgroup = %self.cgroup.path().display(), "the programs are in force");
        Ok(())
    }

    /// Removes former layouts that no connection needs any more.
    pub fn retire_former(&mut self) {
        match datapath::retire_former(self.loaded.pins()) {
            Ok(left) => self.former_layouts = left,
            Err(error) => tracing::warn!(%error, "a former layout could not be retired; trying again"),
        }
    }

    /// The grace period that is wanted now: the wait, which blocks, and the ticket to hand back.
    pub fn begin_grace(&mut self) -> Option<(GraceTicket, impl FnOnce() -> io::Result<()> + Send + use<>)> {
        let ticket = self.reconciler.begin_grace()?;
        let grace = self.grace.clone();
        Some((ticket, move || grace.wait()))
    }

    /// A grace period has passed.
    pub fn end_grace(&mut self, ticket: GraceTicket, result: &io::Result<()>) {
        self.reconciler.end_grace(ticket, result);
    }

    /// An event of the programs.
    pub fn take_event(&mut self, event: &Event) {
        self.events_read += 1;
        self.failovers.note(event);
        let service = self
            .reconciler
            .name_of(event.service)
            .map(|(key, _)| types::ServiceName { namespace: key.namespace.to_string(), name: key.name.to_string() });
        self.remember(ring::describe(event, service));
    }

    /// Tells an event, and remembers it for a while.
    pub(super) fn remember(&mut self, event: types::Event) {
        let event = Arc::new(event);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        let _ = self.live.send(event); // nobody may be listening
    }

    /// The events that are remembered, and those to come.
    pub fn feed(&self) -> EventFeed {
        EventFeed { recent: self.recent.iter().cloned().collect(), live: self.live.subscribe() }
    }
}

/// What there is no room for, said of the Service.
fn no_room(subject: &Subject, problem: &Problem) -> Option<Finding> {
    let (Subject::Service(service), Problem::Refused(why)) = (subject, problem) else { return None };
    Some(Finding {
        severity: Severity::Refused,
        origin: None,
        object: Some(service.object()),
        field: Arc::default(),
        message: why.to_string().into(),
        action: problem.action().into(),
    })
}

/// The maps that the agent fills, as they are pinned.
pub fn descriptors(pins: &Pins) -> Result<KernelFds, datapath::Error> {
    Ok(KernelFds {
        frontends: pins.open_map("FRONTENDS")?,
        addresses: pins.open_map("ADDRESSES")?,
        filter: pins.open_map("FILTER")?,
        services: pins.open_map("SERVICES")?,
        traffic: pins.open_map("TRAFFIC")?,
        outliers: pins.open_map("OUTLIERS")?,
        slots: pins.open_map("SLOTS")?,
        backends: pins.open_map("BACKENDS")?,
        clients: pins.open_map("CLIENTS")?,
        connections: pins.open_map("CONNECTIONS")?,
        reason_counts: pins.open_map("REASON_COUNTS")?,
        settings: pins.open_map("SETTINGS")?,
    })
}

fn set_sampling(settings: &Settings, sampling: EventSampling) {
    let unsampled = match sampling.one_choice_in {
        0 => Settings::NO_CHOICES,
        n => u64::from(n).next_power_of_two() - 1,
    };
    settings.unsampled.store(unsampled);
    settings.event_cost.store(1_000_000_000_u64.checked_div(u64::from(sampling.per_second)).unwrap_or(0));
}
