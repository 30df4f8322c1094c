//! `loadBalancer` of a rule, or of one of its ports: the algorithm, and how connections are shared out.
//!
//! [`super::fields`] has said by then which fields there are; what is wrong with their values is said here.

use super::locality;
use crate::model::parse::names::Names;
use crate::model::parse::report::Report;
use crate::model::{Balance, SlowStart};
use mesh_common::select::{Algorithm, maglev};
use serde_json::Value;
use std::time::Duration;

/// The longest warm-up: a day.
const LONGEST_WARMUP: Duration = Duration::from_hours(24);

/// Reads the part of a rule at `base`: `spec.trafficPolicy`, or one of its `portLevelSettings`.
pub fn read(names: &mut Names, report: &mut Report, base: &str, traffic: &Value) -> (Option<Algorithm>, Balance) {
    let written = &traffic["loadBalancer"];
    let base = format!("{base}.loadBalancer");
    let hash = &written["consistentHash"];
    if !hash.is_null() && !written["simple"].is_null() {
        let message = "an algorithm is written beside it, and only one of them can hold";
        report.reject(format!("{base}.consistentHash"), message, "write simple or consistentHash");
    }
    let algorithm = match hash["useSourceIp"] {
        Value::Bool(true) => Some(Algorithm::Maglev),
        _ => written["simple"].as_str().and_then(simple),
    };
    let balance = Balance {
        table_size: table_size(report, &base, &hash["maglev"]["tableSize"]),
        slow_start: warmup(report, &base, written),
        ..locality::read(names, report, &base, traffic)
    };
    (algorithm, balance)
}

/// The algorithm, where there is one to the name; the table of fields says of which there is.
fn simple(name: &str) -> Option<Algorithm> {
    match name {
        "RANDOM" => Some(Algorithm::Random),
        "ROUND_ROBIN" => Some(Algorithm::RoundRobin),
        "LEAST_REQUEST" | "LEAST_CONN" => Some(Algorithm::LeastConnections),
        _ => None,
    }
}

fn table_size(report: &mut Report, base: &str, written: &Value) -> u32 {
    let field = format!("{base}.consistentHash.maglev.tableSize");
    match written.as_u64() {
        None if written.is_null() => 0,
        Some(size @ 1..) if size <= u64::from(maglev::LARGEST) => size as u32,
        Some(1..) => {
            let message = format!("a table has {} positions at most", maglev::LARGEST);
            report.unsupported(field, message, "expect a table of that size");
            maglev::LARGEST
        }
        _ => {
            report.reject(field, format!("{written} is no size of a table"), "write a number above 0");
            0
        }
    }
}

/// `warmup`, or what it was before.
#[expect(clippy::cast_sign_loss, reason = "numbers within limits that are above 0")]
fn warmup(report: &mut Report, base: &str, written: &Value) -> Option<SlowStart> {
    let warmup = &written["warmup"];
    let (field, duration) = match (warmup, &written["warmupDurationSecs"]) {
        (Value::Null, Value::Null) => return None,
        (Value::Null, old) => (format!("{base}.warmupDurationSecs"), old),
        (new, _) => (format!("{base}.warmup.duration"), &new["duration"]),
    };
    let Some(window) = duration.as_str().and_then(duration_of).filter(|d| !d.is_zero() && *d <= LONGEST_WARMUP) else {
        report.reject(field, format!("{duration} is no time to warm up"), "write 1s to 24h");
        return None;
    };
    let mut number = |name: &str, default: f64, least: f64, most: f64| {
        let written = &warmup[name];
        let number = if written.is_null() { Some(default) } else { written.as_f64() };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("{written} is out of range");
            report.reject(format!("{base}.warmup.{name}"), message, format!("write {least} to {most}"));
        }
        number.unwrap_or(default)
    };
    let min_percent = number("minimumPercent", 10.0, 0.0, 100.0);
    let aggression = number("aggression", 1.0, 1.0, 10.0);
    Some(SlowStart {
        window_seconds: window.as_millis().div_ceil(1_000) as u32,
        min_percent: min_percent.round().max(1.0) as u32,
        aggression: (aggression * 100.0).round() as u32,
    })
}

/// A duration as Istio writes it: `1h30m`, `300s`, `1.5s`. Nothing that the library would overflow by.
pub(super) fn duration_of(text: &str) -> Option<Duration> {
    let plain = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    plain.then(|| text.parse::<kube::core::Duration>().ok()).flatten().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_istio_writes_them_and_nonsense_is_none() {
        for (text, seconds) in [("300s", 300.0), ("1.5s", 1.5), ("1h30m", 5400.0), ("250ms", 0.25), ("0", 0.0)] {
            assert_eq!(duration_of(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["5s-3s", "-1s", "5", "s", "9999999999999999999h", "1d", "ten"] {
            assert_eq!(duration_of(text), None, "{text}");
        }
        assert!(duration_of("999999999999999h").is_some());
    }
}
