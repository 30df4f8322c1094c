//! `spec.loadBalancer` of a `TrafficPolicy`, as it is written and as it is understood.

use super::names::Names;
use super::report::Report;
use crate::crd;
use crate::model::{Balance, Level, Locality, Part, Preference, SlowStart, Weight, Which};
use mesh_common::select::{Algorithm, HashBy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most entries of a list here.
const MOST_ENTRIES: usize = 64;
/// The largest weight.
const MOST_WEIGHT: u32 = 1_000;
/// The longest slow start: a day, in seconds.
const LONGEST_WINDOW: u32 = 86_400;

/// How a backend is chosen.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// The algorithm. Random is the default, as kube-proxy has it. RoundRobin takes turns over all clients of the node.
    /// LeastConnections takes of two random backends the one with fewer connections open. With Maglev a client keeps its
    /// backend, and few clients change theirs when backends come and go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::algorithms")]
    pub algorithm: Option<String>,
    /// What Maglev goes by. Client, the default, is the client's network namespace: its pod. ClientAndPort adds the
    /// Service's port that it dials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::hashes")]
    pub hash: Option<String>,
    /// While an endpoint in the node's own zone is ready, those in other zones take no new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer_same_zone: Option<bool>,
    /// Weights of endpoints, each against the others. The first entry that matches an endpoint holds; where none does, the
    /// weight is 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_ENTRIES))]
    pub weights: Vec<WeightSpec>,
    /// Which part of all connections goes to which endpoints, however many they are: a canary's share. Endpoints in no part
    /// take none. The share of a part without ready endpoints goes to the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_ENTRIES))]
    pub split: Vec<PartSpec>,
    /// A new endpoint takes less than its share at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStartSpec>,
}

/// The weight of some endpoints, each.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [one_of()]))]
pub struct WeightSpec {
    /// Endpoints whose pod's name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pod_name_prefix: Option<String>,
    /// Endpoints on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_name: Option<String>,
    /// Endpoints in this zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
    /// The weight. 0 takes connections only when no other endpoint does.
    #[schemars(range(max = MOST_WEIGHT))]
    pub weight: u32,
}

/// The part of all connections that goes to some endpoints together.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [one_of()]))]
pub struct PartSpec {
    /// Endpoints whose pod's name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pod_name_prefix: Option<String>,
    /// Endpoints on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_name: Option<String>,
    /// Endpoints in this zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
    /// It holds for clients in this zone only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub from_zone: Option<String>,
    /// How many per cent. The parts need not sum up to 100: their proportions count.
    #[schemars(range(max = 100))]
    pub percent: u32,
}

/// How the share of a new endpoint rises, as Envoy's slow start has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlowStartSpec {
    /// For how many seconds an endpoint is new.
    #[schemars(range(min = 1, max = LONGEST_WINDOW))]
    pub window_seconds: u32,
    /// The least that it takes, in per cent of its share; 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_percent: Option<u32>,
    /// The shape of the rise, in hundredths: its share at a part of the window is that part to the power of 100 divided by
    /// this. 100, the default, rises in a straight line; more rises faster at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 1_000))]
    pub aggression: Option<u32>,
}

/// The rule that exactly one kind of endpoints is named.
fn one_of() -> serde_json::Value {
    serde_json::json!({
        "rule": "[has(self.podNamePrefix), has(self.nodeName), has(self.zone)].filter(x, x).size() == 1",
        "message": "name exactly one of podNamePrefix, nodeName and zone",
    })
}

/// Understands it; what is wrong goes to the report.
pub(super) fn parse(names: &mut Names, report: &mut Report, spec: &LoadBalancer) -> (Option<Algorithm>, Balance) {
    let algorithm =
        known(report, "algorithm", "algorithm", spec.algorithm.as_deref(), &Algorithm::ALL, Algorithm::name);
    let hash = known(report, "hash", "hash", spec.hash.as_deref(), &HashBy::ALL, HashBy::name);
    if spec.hash.is_some() && algorithm != Some(Algorithm::Maglev) {
        report.reject("spec.loadBalancer.hash", "only Maglev hashes", "write algorithm: Maglev, or remove it");
    }
    for (field, len) in [("weights", spec.weights.len()), ("split", spec.split.len())] {
        if len > MOST_ENTRIES {
            let message = format!("it has {len} entries");
            report.reject(format!("spec.loadBalancer.{field}"), message, format!("write at most {MOST_ENTRIES}"));
        }
    }
    let mut weights = Vec::with_capacity(spec.weights.len());
    for (i, entry) in spec.weights.iter().enumerate() {
        let field = format!("spec.loadBalancer.weights[{i}]");
        within(report, &format!("{field}.weight"), entry.weight, 0, MOST_WEIGHT);
        let ways = [&entry.pod_name_prefix, &entry.node_name, &entry.zone];
        weights.extend(which(names, report, &field, ways).map(|which| Weight { which, weight: entry.weight }));
    }
    let mut split = Vec::with_capacity(spec.split.len());
    for (i, entry) in spec.split.iter().enumerate() {
        let field = format!("spec.loadBalancer.split[{i}]");
        within(report, &format!("{field}.percent"), entry.percent, 0, 100);
        let from = Locality::of_zone(names.share_option(entry.from_zone.as_deref()));
        let ways = [&entry.pod_name_prefix, &entry.node_name, &entry.zone];
        let part =
            which(names, report, &field, ways).map(|which| Part { entry: 0, from, which, percent: entry.percent });
        split.extend(part);
    }
    let slow_start = spec.slow_start.as_ref().map(|spec| {
        let slow = SlowStart {
            window_seconds: spec.window_seconds,
            min_percent: spec.min_percent.unwrap_or(10),
            aggression: spec.aggression.unwrap_or(100),
        };
        within(report, "spec.loadBalancer.slowStart.windowSeconds", slow.window_seconds, 1, LONGEST_WINDOW);
        within(report, "spec.loadBalancer.slowStart.minPercent", slow.min_percent, 1, 100);
        within(report, "spec.loadBalancer.slowStart.aggression", slow.aggression, 10, 1_000);
        slow
    });
    let prefer_zone = spec.prefer_same_zone.unwrap_or_default().then_some(Preference::own(Level::Zone));
    let balance = Balance {
        hash: hash.unwrap_or_default(),
        prefer: prefer_zone.into_iter().collect(),
        weights,
        split,
        slow_start,
        ..Balance::default()
    };
    (algorithm, balance)
}

/// One of a few names.
fn known<T: Copy>(
    report: &mut Report,
    field: &str,
    noun: &str,
    written: Option<&str>,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Option<T> {
    let written = written?;
    let known = all.iter().copied().find(|one| name(*one) == written);
    if known.is_none() {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        let message = format!("{written:?} is no {noun}");
        report.reject(format!("spec.loadBalancer.{field}"), message, format!("write {}", names.join(" or ")));
    }
    known
}

/// Exactly one of the three ways to name endpoints.
fn which(names: &mut Names, report: &mut Report, field: &str, written: [&Option<String>; 3]) -> Option<Which> {
    let at_zone = |zone| Which::At(Locality::of_zone(zone));
    let mut ways = written.into_iter().zip([Which::PodNamePrefix, Which::NodeName, at_zone] as [fn(_) -> _; 3]);
    let mut written = ways.by_ref().filter_map(|(text, way)| Some((text.as_deref()?, way)));
    match (written.next(), written.next()) {
        (Some(("", _)), None) => {
            report.reject(field, "the name in it is empty", "write podNamePrefix, nodeName or zone");
            None
        }
        (Some((text, way)), None) => Some(way(names.share(text))),
        _ => {
            report.reject(field, "it does not say which endpoints", "name one of podNamePrefix, nodeName and zone");
            None
        }
    }
}

fn within(report: &mut Report, field: &str, number: u32, least: u32, most: u32) {
    if !(least..=most).contains(&number) {
        report.reject(field, format!("{number} is out of range"), format!("write {least} to {most}"));
    }
}
