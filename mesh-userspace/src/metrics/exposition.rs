//! Figures as OpenMetrics text.

use super::family::{self, Family};
use super::figures::{Figures, ServiceFigures};
use crate::api::types::{Health, Program, Source};
use crate::plan::Ended;
use jiff::Timestamp;
use mesh_common::reason::Reason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Severities of findings, each with a series, so that a rise from nothing is a rise.
const SEVERITIES: [&str; 4] = ["rejected", "conflict", "unresolved", "unsupported"];

/// The whole page.
pub fn render(figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.agent(&mut page)?;
        self.each_service(&mut page)?;
        self.cluster(&mut page)?;
        self.inbound(&mut page)?;
        self.maps(&mut page)?;
        self.sources(&mut page)?;
        page.counter(family::EVENTS_READ, [([], self.status.events.read)])?;
        page.counter(family::EVENTS_LOST, [([], self.status.events.lost)])
    }
}

impl Figures {
    fn agent(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = &self.status;
        page.info(family::BUILD, vec![("version", status.version.clone()), ("abi", status.abi.to_string())])?;
        page.gauge(family::START, [([], status.since.as_duration().as_secs_f64())])?;
        let usage = usage();
        page.gauge(family::MEMORY, usage.iter().map(|usage| ([], usage.memory)))?;
        page.seconds(family::CPU, usage.iter().map(|usage| usage.processor))?;
        let ready = status.health != Health::Starting && status.programs.iter().all(|program| program.in_force);
        page.gauge(family::READY, [([], truth(ready))])?;
        page.gauge(family::NODE_ELIGIBLE, [([], truth(status.node_eligible))])?;
        page.gauge(family::PROBLEMS, [([], number(status.problems.len() as u64))])?;
        let hook = |program: &Program| ([program.hook.clone()], truth(program.in_force));
        page.gauge(family::PROGRAM, status.programs.iter().map(hook))
    }

    fn each_service(&self, page: &mut Page<'_>) -> fmt::Result {
        let named = |of: &ServiceFigures| [of.service.namespace.to_string(), of.service.name.to_string()];
        let reasons = |refusals: bool, observations: bool| {
            self.services.iter().flat_map(move |of| {
                let counts = Reason::ALL.into_iter().zip(of.reasons);
                let wanted = counts.filter(move |(reason, count)| {
                    *count > 0
                        && *reason != Reason::FlowKept
                        && reason.is_refusal() == refusals
                        && reason.is_observation() == observations
                });
                let [namespace, name] = named(of);
                wanted.map(move |(reason, count)| ([namespace.clone(), name.clone(), reason.name().to_owned()], count))
            })
        };
        page.counter(family::ADMITTED, reasons(false, false))?;
        page.counter(family::REFUSED, reasons(true, false))?;
        page.counter(family::OBSERVED, reasons(false, true))?;
        let ended = self.services.iter().flat_map(|of| {
            let [namespace, name] = named(of);
            let counts = Ended::ALL.into_iter().zip(of.ended).filter(|(_, count)| *count > 0);
            counts.map(move |(why, count)| ([namespace.clone(), name.clone(), why.name().to_owned()], count))
        });
        page.counter(family::ENDED, ended)?;
        let kept = self.services.iter().map(|of| (named(of), of.reasons[Reason::FlowKept as usize]));
        page.counter(family::KEPT, kept.filter(|(_, count)| *count > 0))?;
        page.gauge(family::ACTIVE, self.services.iter().map(|of| (named(of), number(of.active))))?;
        let limits = |limit: fn(&ServiceFigures) -> Option<u64>| {
            self.services.iter().filter_map(move |of| Some((named(of), number(limit(of)?))))
        };
        page.gauge(family::LIMIT, limits(|of| of.max_connections))?;
        page.gauge(family::BACKEND_LIMIT, limits(|of| of.max_connections_per_backend))?;
        page.gauge(family::CLIENT_LIMIT, limits(|of| of.traffic.max_connections_per_client))?;
        page.gauge(family::CLIENT_FLOW_LIMIT, limits(|of| of.traffic.max_flows_per_client))?;
        page.gauge(family::RATE_LIMIT, limits(|of| of.traffic.connections_per_second))?;
        page.gauge(family::CLIENT_RATE_LIMIT, limits(|of| of.traffic.connections_per_second_per_client))?;
        let ejected = self.services.iter().filter_map(|of| Some((named(of), number(of.ejected?.0))));
        page.gauge(family::EJECTED, ejected)?;
        page.counter(family::EJECTIONS, self.services.iter().filter_map(|of| Some((named(of), of.ejected?.1))))?;
        let returned = self.services.iter().map(|of| (named(of), of.returned));
        page.counter(family::RETURNS, returned.filter(|(_, count)| *count > 0))?;
        page.gauge(family::LEFT_OUT, [([], number(self.left_out as u64))])
    }

    fn cluster(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = &self.status;
        let services = status.services;
        let by_state = [
            ("served", services.served),
            ("without-backends", services.without_backends),
            ("ignored", services.ignored),
            ("waiting", services.waiting),
        ];
        page.gauge(family::SERVICES, by_state.map(|(state, count)| ([state.to_owned()], number(count))))?;
        page.gauge(family::CONNECTIONS, [([], number(status.connections.active))])?;
        let mut severities: BTreeMap<&str, u64> = SEVERITIES.into_iter().map(|severity| (severity, 0)).collect();
        for finding in &status.findings {
            *severities.entry(&finding.severity).or_default() += 1;
        }
        let severities = severities.into_iter().map(|(severity, count)| ([severity.to_owned()], number(count)));
        page.gauge(family::FINDINGS, severities)?;
        page.whole(family::CHANGES, &self.changes)?;
        page.whole(family::SYNCS, &self.syncs)?;
        let sync = status.synchronisation;
        page.gauge(family::FIRST_SYNC, sync.first_seconds.map(|time| ([], time)))?;
        page.counter(family::FAILURES, [([], sync.failures)])?;
        page.counter(family::RETRIES, [([], sync.retries)])?;
        page.gauge(family::DRIFT, status.audit.map(|audit| ([], number(audit.drifted))))?;
        page.counter(family::REPAIRED, status.audit.map(|audit| ([], audit.repaired)))
    }

    fn inbound(&self, page: &mut Page<'_>) -> fmt::Result {
        let inbound = &self.status.inbound;
        let by_state =
            [("in-force", inbound.in_force), ("missing", inbound.missing.len() as u64), ("left-out", inbound.left_out)];
        page.gauge(family::INBOUND_BACKENDS, by_state.map(|(state, count)| ([state.to_owned()], number(count))))?;
        page.gauge(family::INBOUND_CONNECTIONS, [([], number(inbound.connections))])?;
        page.counter(family::INBOUND_GIVEN_BACK, [([], inbound.given_back)])?;
        page.counter(family::INBOUND_REPAIRED, [([], inbound.repaired)])?;
        page.counter(family::INBOUND_PACKETS, inbound.packets.iter().map(|(reason, count)| ([reason.clone()], *count)))
    }

    fn maps(&self, page: &mut Page<'_>) -> fmt::Result {
        let maps = &self.status.maps;
        page.gauge(family::MAP_ENTRIES, maps.iter().map(|map| ([map.name.clone()], number(map.used))))?;
        page.gauge(family::MAP_SIZE, maps.iter().map(|map| ([map.name.clone()], number(map.size))))
    }

    fn sources(&self, page: &mut Page<'_>) -> fmt::Result {
        let sources = &self.status.sources;
        let now = Timestamp::now();
        let name = |source: &Source| [source.name.clone()];
        page.gauge(family::CONNECTED, sources.iter().map(|of| (name(of), truth(of.error.is_none()))))?;
        page.gauge(family::SYNCED, sources.iter().map(|of| (name(of), truth(of.synced))))?;
        let age = |of: &Source| Some((name(of), now.duration_since(of.last_change?).as_secs_f64().max(0.0)));
        page.gauge(family::SOURCE_AGE, sources.iter().filter_map(age))?;
        let objects = sources
            .iter()
            .flat_map(|of| of.objects.iter().map(|(kind, count)| ([of.name.clone(), kind.clone()], number(*count))));
        page.gauge(family::OBJECTS, objects)
    }
}

/// What the process uses; nothing where /proc does not say.
struct Usage {
    memory: f64,
    processor: f64,
}

#[expect(clippy::cast_precision_loss, reason = "ticks and bytes of one process")]
fn usage() -> Option<Usage> {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat()).ok()?;
    let memory = number(stat.rss * procfs::page_size());
    Some(Usage { memory, processor: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64 })
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "OpenMetrics' gauges are floating point")]
fn number(count: u64) -> f64 {
    count as f64
}

/// The page as far as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge<const N: usize>(
        &mut self,
        family: Family,
        series: impl IntoIterator<Item = ([String; N], f64)>,
    ) -> fmt::Result {
        self.family(family, series.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value))))
    }

    fn counter<const N: usize>(
        &mut self,
        family: Family,
        series: impl IntoIterator<Item = ([String; N], u64)>,
    ) -> fmt::Result {
        self.family(family, series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value))))
    }

    fn seconds(&mut self, family: Family, series: impl IntoIterator<Item = f64>) -> fmt::Result {
        self.family(family, series.into_iter().map(|value| ([], ConstCounter::new(value))))
    }

    fn info(&mut self, family: Family, labels: Vec<(&str, String)>) -> fmt::Result {
        self.whole(family, &Info::new(labels))
    }

    /// A metric that is one series.
    fn whole(&mut self, family: Family, metric: &impl EncodeMetric) -> fmt::Result {
        let unit = family.unit.unit();
        metric.encode(self.0.encode_descriptor(family.stem, &help(family), unit.as_ref(), family.kind.into())?)
    }

    fn family<const N: usize>(
        &mut self,
        family: Family,
        series: impl Iterator<Item = ([String; N], impl EncodeMetric)>,
    ) -> fmt::Result {
        debug_assert_eq!(family.labels.len(), N, "{family}");
        let unit = family.unit.unit();
        let mut encoder = self.0.encode_descriptor(family.stem, &help(family), unit.as_ref(), family.kind.into())?;
        for (labels, metric) in series {
            let labels: Vec<(&str, String)> = family.labels.iter().copied().zip(labels).collect();
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The library adds the full stop only to what is registered.
fn help(family: Family) -> String {
    format!("{}.", family.help)
}
