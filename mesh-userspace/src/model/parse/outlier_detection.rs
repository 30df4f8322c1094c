//! `spec.outlierDetection` of a `TrafficPolicy`, as it is written and as it is understood.

use super::report::Report;
use crate::model::{OutlierDetection, Probe};
use mesh_common::tables::SlowRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest time: a day, in seconds.
const LONGEST: u32 = 86_400;

/// The longest that a connect may take, in seconds.
const LONGEST_CONNECT: u32 = 60;

/// When an endpoint that fails is ejected, and for how long: Envoy's outlier detection, kept in the kernel of each node.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [order(), slowness()]))]
pub struct OutlierDetectionSpec {
    /// How many connections in a row must fail for an endpoint to be ejected. Connects that are refused or unanswered for a
    /// second are counted, and by themselves connections that are reset within a second before anything was received or whose
    /// data stays unacknowledged twice in a row.
    #[schemars(range(min = 1, max = 255))]
    pub consecutive_failures: u32,
    /// How many seconds the first ejection lasts; the next lasts twice as long, and so on. 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub base_ejection_seconds: Option<u32>,
    /// How many seconds an ejection lasts at most; 300 by default, or baseEjectionSeconds where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub max_ejection_seconds: Option<u32>,
    /// After how many seconds of serving one earlier ejection is forgotten; 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub interval_seconds: Option<u32>,
    /// Most endpoints that are ejected at once, in per cent of a port's endpoints, rounded down; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub max_ejection_percent: Option<u32>,
    /// While fewer endpoints than this, in per cent, are not ejected, ejected ones are chosen, too; 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub min_health_percent: Option<u32>,
    /// Ejects an endpoint, too, three quarters of whose answers take more than so many per cent of the Service's median time to
    /// the first byte: 300 for three times as slow. Not looked at when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 110, max = 60_000))]
    pub slow_answer_percent: Option<u32>,
    /// And longer than that median by more than so many milliseconds; 5 by default. Says nothing without slowAnswerPercent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub slow_answer_milliseconds: Option<u32>,
    /// The agent asks ejected endpoints whether they take connections again: one that does comes back before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckSpec>,
}

/// A TCP connect to each endpoint that is ejected for connects that failed, from the node's own network.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheckSpec {
    /// How often, in seconds.
    #[schemars(range(min = 1, max = LONGEST))]
    pub interval_seconds: u32,
    /// How many seconds a connect may take; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST_CONNECT))]
    pub timeout_seconds: Option<u32>,
}

/// The rule that the longest time is no shorter than the first.
fn order() -> serde_json::Value {
    serde_json::json!({
        "rule": "!has(self.maxEjectionSeconds) || self.maxEjectionSeconds >= (has(self.baseEjectionSeconds) ? self.baseEjectionSeconds : 30)",
        "message": "maxEjectionSeconds must not be less than baseEjectionSeconds",
    })
}

/// The rule that the least difference stands beside the percentage.
fn slowness() -> serde_json::Value {
    serde_json::json!({
        "rule": "!has(self.slowAnswerMilliseconds) || has(self.slowAnswerPercent)",
        "message": "slowAnswerMilliseconds says nothing without slowAnswerPercent",
    })
}

/// Understands it; what is wrong goes to the report.
pub(super) fn parse(report: &mut Report, spec: &OutlierDetectionSpec) -> OutlierDetection {
    let mut within = |field: &str, number: u32, least: u32, most: u32| {
        if !(least..=most).contains(&number) {
            let field = format!("spec.outlierDetection.{field}");
            report.reject(field, format!("{number} is out of range"), format!("write {least} to {most}"));
        }
        number
    };
    let failures = within("consecutiveFailures", spec.consecutive_failures, 1, 255);
    let base = within("baseEjectionSeconds", spec.base_ejection_seconds.unwrap_or(30), 1, LONGEST);
    let most = within("maxEjectionSeconds", spec.max_ejection_seconds.unwrap_or(base.max(300)), 1, LONGEST);
    let interval = within("intervalSeconds", spec.interval_seconds.unwrap_or(10), 1, LONGEST);
    let max_ejection_percent = within("maxEjectionPercent", spec.max_ejection_percent.unwrap_or(50), 0, 100);
    let min_health_percent = within("minHealthPercent", spec.min_health_percent.unwrap_or(0), 0, 100);
    let percent = spec.slow_answer_percent.map_or(0, |percent| within("slowAnswerPercent", percent, 110, 60_000));
    let least = within("slowAnswerMilliseconds", spec.slow_answer_milliseconds.unwrap_or(5), 1, 60_000);
    let check = spec.health_check.as_ref();
    let probe = check.map(|check| {
        let interval = within("healthCheck.intervalSeconds", check.interval_seconds, 1, LONGEST);
        let timeout = within("healthCheck.timeoutSeconds", check.timeout_seconds.unwrap_or(1), 1, LONGEST_CONNECT);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Probe { interval: seconds(interval), timeout: seconds(timeout) }
    });
    if percent == 0 && spec.slow_answer_milliseconds.is_some() {
        let field = "spec.outlierDetection.slowAnswerMilliseconds";
        report.reject(field, "says nothing without slowAnswerPercent", "write slowAnswerPercent, 300 for one");
    }
    if most < base {
        let message = format!("{most} s is shorter than the first ejection, which lasts {base} s");
        report.reject("spec.outlierDetection.maxEjectionSeconds", message, format!("write {base} or more"));
    }
    let failures = u8::try_from(failures).unwrap_or(u8::MAX);
    OutlierDetection {
        connects: failures,
        resets: failures,
        slow: if percent == 0 { SlowRule::default() } else { SlowRule { percent: percent as u16, least } },
        base_ejection: u64::from(base) * 1_000,
        max_ejection: u64::from(most) * 1_000,
        interval: u64::from(interval) * 1_000,
        max_ejection_percent,
        min_health_percent,
        probe,
    }
}
