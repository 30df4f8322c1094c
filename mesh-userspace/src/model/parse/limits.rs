//! `spec.limits` of a `TrafficPolicy`, as it is written and as it is understood.

use super::report::Report;
use crate::model::{FlowLimit, Limits, Rate};
use mesh_common::flows;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The highest rate and the largest burst.
const MOST: u32 = 1_000_000;

/// How long a flow counts after its last datagram where that is not written, seconds: what conntrack gives a UDP flow
/// that has had an answer is 120, one that has not 30.
const FLOW_IDLE: u32 = 30;

/// The longest time, seconds.
const LONGEST_FLOW_IDLE: u32 = 3_600;

/// Limits on connections. Each holds on each node by itself, and is exact there.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
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
    /// Most TCP connections at once to each backend from wherever, also from clients that no mesh covers, 0 or more: kept at
    /// the pod's interface on the backend's own node. More are refused with a RST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_inbound_connections_per_backend: Option<u64>,
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
    /// Most flows at once of each client to the Service, 0 to 900: UDP sockets that are not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = flows::MOST))]
    pub max_flows_per_client: Option<u32>,
    /// After how many seconds without a datagram to the Service a flow counts no more; 30 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST_FLOW_IDLE))]
    pub flow_idle_seconds: Option<u32>,
    /// Enforce, the default; or Observe, which counts what these limits would refuse and refuses nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "modes")]
    pub mode: Option<String>,
}

/// What the API server refuses besides: a burst without its rate, and a mode without a limit.
fn rules() -> serde_json::Value {
    serde_json::json!([
        {
            "rule": "!has(self.connectionBurst) || has(self.connectionsPerSecond)",
            "message": "connectionBurst needs connectionsPerSecond",
        },
        {
            "rule": "!has(self.connectionBurstPerClient) || has(self.connectionsPerSecondPerClient)",
            "message": "connectionBurstPerClient needs connectionsPerSecondPerClient",
        },
        {
            "rule": "!has(self.flowIdleSeconds) || has(self.maxFlowsPerClient)",
            "message": "flowIdleSeconds needs maxFlowsPerClient",
        },
        {
            "rule": "!has(self.mode) || has(self.maxConnections) || has(self.maxConnectionsPerBackend) || \
                     has(self.maxConnectionsPerClient) || has(self.maxInboundConnectionsPerBackend) || \
                     has(self.connectionsPerSecond) || has(self.connectionsPerSecondPerClient) || \
                     has(self.maxFlowsPerClient)",
            "message": "there is no limit for the mode",
        },
    ])
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
    let limits = Limits {
        max_connections: spec.max_connections,
        max_connections_per_backend: spec.max_connections_per_backend,
        max_connections_per_client: spec.max_connections_per_client,
        max_inbound_connections_per_backend: spec.max_inbound_connections_per_backend,
        rate,
        client_rate,
        flows: flow_limit(report, spec),
        observe: spec.mode.as_deref() == Some("Observe"),
    };
    if spec.mode.is_some() && (Limits { observe: false, ..limits }) == Limits::default() {
        report.reject("spec.limits.mode", "there is no limit for the mode", "write a limit, or remove it");
    }
    limits
}

fn flow_limit(report: &mut Report, spec: &LimitsSpec) -> Option<FlowLimit> {
    let mut check = |field: &str, number: Option<u32>, range: RangeInclusive<u32>| {
        if let Some(number) = number.filter(|number| !range.contains(number)) {
            let action = format!("write {} to {}", range.start(), range.end());
            report.reject(format!("spec.limits.{field}"), format!("{number} is out of range"), action);
        }
    };
    check("maxFlowsPerClient", spec.max_flows_per_client, 0..=flows::MOST);
    check("flowIdleSeconds", spec.flow_idle_seconds, 1..=LONGEST_FLOW_IDLE);
    if spec.flow_idle_seconds.is_some() && spec.max_flows_per_client.is_none() {
        let action = "write maxFlowsPerClient, too";
        report.reject("spec.limits.flowIdleSeconds", "there is an idle time and no limit of flows", action);
    }
    Some(FlowLimit { most: spec.max_flows_per_client?, idle_seconds: spec.flow_idle_seconds.unwrap_or(FLOW_IDLE) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ObjectRef};

    fn parsed(spec: &str) -> Result<Limits, Vec<String>> {
        let object = ObjectRef { kind: Kind::TrafficPolicy, namespace: "shop".into(), name: "p".into() };
        let mut report = Report::new(object);
        let limits = parse(&mut report, &serde_saphyr::from_str(spec).unwrap());
        let fields = |findings: Vec<crate::model::Finding>| findings.iter().map(|f| f.field.to_string()).collect();
        report.finish(limits).map(|parsed| parsed.object).map_err(fields)
    }

    #[test]
    fn a_burst_is_1_where_it_is_not_written() {
        let limits =
            parsed("{connectionsPerSecond: 10, connectionsPerSecondPerClient: 2, connectionBurstPerClient: 5}");
        let limits = limits.unwrap();
        assert_eq!(limits.rate, Some(Rate { per_second: 10, burst: 1 }));
        assert_eq!(limits.client_rate, Some(Rate { per_second: 2, burst: 5 }));
        assert_eq!(limits.flows, None);
        let flows = |spec| parsed(spec).unwrap().flows;
        assert_eq!(flows("{maxFlowsPerClient: 0}"), Some(FlowLimit { most: 0, idle_seconds: 30 }));
        let long = "{maxFlowsPerClient: 900, flowIdleSeconds: 3600, mode: Observe}";
        assert_eq!(flows(long), Some(FlowLimit { most: 900, idle_seconds: 3600 }));
        assert!(parsed("{maxConnectionsPerClient: 0, mode: Observe}").unwrap().observe);
    }

    #[test]
    fn what_says_nothing_or_cannot_be_is_rejected_with_its_field() {
        for (spec, field) in [
            ("{connectionBurst: 5}", "connectionBurst"),
            ("{connectionBurstPerClient: 5, connectionsPerSecond: 1}", "connectionBurstPerClient"),
            ("{connectionsPerSecond: 0}", "connectionsPerSecond"),
            ("{connectionsPerSecond: 1000001}", "connectionsPerSecond"),
            ("{maxConnections: 1, mode: Watch}", "mode"),
            ("{mode: Observe}", "mode"),
            ("{maxFlowsPerClient: 901}", "maxFlowsPerClient"),
            ("{maxFlowsPerClient: 9, flowIdleSeconds: 0}", "flowIdleSeconds"),
            ("{maxFlowsPerClient: 9, flowIdleSeconds: 3601}", "flowIdleSeconds"),
            ("{flowIdleSeconds: 5}", "flowIdleSeconds"),
        ] {
            assert_eq!(parsed(spec).unwrap_err(), [format!("spec.limits.{field}")], "{spec}");
        }
    }
}
