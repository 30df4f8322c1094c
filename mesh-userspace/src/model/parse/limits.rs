//! `spec.limits` of a `TrafficPolicy`, as it is written and as it is understood.

use super::report::Report;
use crate::model::{Limits, Rate};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The highest rate and the largest burst.
const MOST: u32 = 1_000_000;

/// Limits on connections. Each holds on each node by itself, and is exact there.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Most connections at once to the Service, 0 or more. More are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend, 0 or more. At this many, the choice moves to another backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_backend: Option<u64>,
    /// Most connections at once of each client to the Service, 0 or more. A client is a network namespace: a pod, or all of
    /// the host's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_client: Option<u64>,
    /// New connections to the Service a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST))]
    pub connections_per_second: Option<u32>,
    /// How many new connections may come at once after a pause; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST))]
    pub connection_burst: Option<u32>,
    /// New connections of each client to the Service a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST))]
    pub connections_per_second_per_client: Option<u32>,
    /// How many new connections of one client may come at once after a pause; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST))]
    pub connection_burst_per_client: Option<u32>,
    /// Enforce, the default; or Observe, which counts what these limits would refuse and refuses nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "modes")]
    pub mode: Option<String>,
}

const MODES: [&str; 2] = ["Enforce", "Observe"];

fn modes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": MODES })
}

/// Understands it; what is wrong goes to the report.
pub(super) fn parse(report: &mut Report, spec: &LimitsSpec) -> Limits {
    if let Some(mode) = spec.mode.as_deref().filter(|mode| !MODES.contains(mode)) {
        report.reject("spec.limits.mode", format!("{mode:?} is no mode"), format!("write {}", MODES.join(" or ")));
    }
    let rate =
        rate(report, ("connectionsPerSecond", spec.connections_per_second), ("connectionBurst", spec.connection_burst));
    let client_rate = self::rate(
        report,
        ("connectionsPerSecondPerClient", spec.connections_per_second_per_client),
        ("connectionBurstPerClient", spec.connection_burst_per_client),
    );
    Limits {
        max_connections: spec.max_connections,
        max_connections_per_backend: spec.max_connections_per_backend,
        max_connections_per_client: spec.max_connections_per_client,
        rate,
        client_rate,
        observe: spec.mode.as_deref() == Some("Observe"),
    }
}

/// A rate with its burst, each with the name of its field.
fn rate(report: &mut Report, rate: (&str, Option<u32>), burst: (&str, Option<u32>)) -> Option<Rate> {
    for (field, number) in [rate, burst] {
        if let Some(number) = number.filter(|number| !(1..=MOST).contains(number)) {
            report.reject(
                format!("spec.limits.{field}"),
                format!("{number} is out of range"),
                format!("write 1 to {MOST}"),
            );
        }
    }
    if rate.1.is_none() && burst.1.is_some() {
        let action = format!("write {}, too", rate.0);
        report.reject(format!("spec.limits.{}", burst.0), "there is a burst and no rate", action);
    }
    Some(Rate { per_second: rate.1?, burst: burst.1.unwrap_or(1) })
}
