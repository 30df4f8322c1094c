//! `connectionPool.tcp.idleTimeout` and `maxConnectionDuration` of a rule, or of one of its ports.

use super::balance::duration_of;
use crate::model::Lifetime;
use crate::model::parse::report::Report;
use serde_json::Value;
use std::time::Duration;

/// The longest time: thirty days.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Reads the part of a rule at `base`: `spec.trafficPolicy`, or one of its `portLevelSettings`.
pub fn read(report: &mut Report, base: &str, traffic: &Value) -> Lifetime {
    let tcp = &traffic["connectionPool"]["tcp"];
    let mut time = |name: &str| {
        let written = &tcp[name];
        let field = format!("{base}.connectionPool.tcp.{name}");
        if written.is_null() {
            return None;
        }
        match written.as_str().and_then(duration_of).filter(|time| *time <= LONGEST) {
            // 0s is how Istio switches the idle timeout off.
            Some(time) if time.is_zero() && name == "idleTimeout" => None,
            Some(time) if time < Duration::from_secs(1) => {
                let message =
                    format!("{written} is less than a second, to which times are kept; nothing is ended for it");
                report.unsupported(field, message, "write 1s or more");
                None
            }
            Some(time) => Some(Duration::from_secs(time.as_millis().div_ceil(1_000) as u64)),
            None => {
                report.reject(field, format!("{written} is no time that a connection may last"), "write 1s to 720h");
                None
            }
        }
    };
    Lifetime { idle: time("idleTimeout"), longest: time("maxConnectionDuration") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ObjectRef, Severity};
    use serde_json::json;

    /// What is read, and the field and severity of each finding.
    fn parsed(tcp: &Value) -> (Lifetime, Vec<(String, Severity)>) {
        let object = ObjectRef { kind: Kind::DestinationRule, namespace: "shop".into(), name: "r".into() };
        let mut report = Report::new(object);
        let lifetime = read(&mut report, "spec.trafficPolicy", &json!({"connectionPool": {"tcp": tcp}}));
        let findings = match report.finish(lifetime) {
            Ok(parsed) => parsed.findings,
            Err(findings) => findings,
        };
        (lifetime, findings.iter().map(|f| (f.field.to_string(), f.severity)).collect())
    }

    #[test]
    fn times_are_rounded_up_to_seconds_and_0s_is_none() {
        let seconds = |idle: Option<u64>, longest: Option<u64>| Lifetime {
            idle: idle.map(Duration::from_secs),
            longest: longest.map(Duration::from_secs),
        };
        for (tcp, expected) in [
            (json!({}), seconds(None, None)),
            (json!({"idleTimeout": "1h"}), seconds(Some(3_600), None)),
            (json!({"idleTimeout": "0s", "maxConnectionDuration": "1.5s"}), seconds(None, Some(2))),
        ] {
            assert_eq!(parsed(&tcp), (expected, Vec::new()), "{tcp}");
        }
    }

    #[test]
    fn less_than_a_second_is_not_served_and_nonsense_is_rejected() {
        let field = |name: &str| format!("spec.trafficPolicy.connectionPool.tcp.{name}");
        for (tcp, name, severity) in [
            (json!({"idleTimeout": "500ms"}), "idleTimeout", Severity::Unsupported),
            (json!({"maxConnectionDuration": "0s"}), "maxConnectionDuration", Severity::Unsupported),
            (json!({"idleTimeout": 5}), "idleTimeout", Severity::Rejected),
            (json!({"idleTimeout": "-5s"}), "idleTimeout", Severity::Rejected),
            (json!({"maxConnectionDuration": "721h"}), "maxConnectionDuration", Severity::Rejected),
        ] {
            assert_eq!(parsed(&tcp), (Lifetime::default(), vec![(field(name), severity)]), "{tcp}");
        }
    }
}
