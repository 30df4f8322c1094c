//! `spec.connections` of a `TrafficPolicy`, as it is written and as it is understood.

use super::report::Report;
use crate::model::Lifetime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest time: thirty days, in seconds.
const LONGEST: u32 = 2_592_000;

/// When open TCP connections are ended by the agent of the client's node. The client sees ECONNABORTED, and connects anew.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionsSpec {
    /// After how many seconds without data in either direction. TCP keepalives are no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub idle_timeout_seconds: Option<u32>,
    /// How many seconds after connect(), whatever they are doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub max_duration_seconds: Option<u32>,
}

/// Understands it; what is wrong goes to the report.
pub(super) fn parse(report: &mut Report, spec: &ConnectionsSpec) -> Lifetime {
    let mut within = |field: &str, seconds: Option<u32>| {
        let seconds = seconds?;
        if !(1..=LONGEST).contains(&seconds) {
            let message = match seconds {
                0 => "less than a second is not kept to".to_owned(),
                _ => format!("{seconds} is out of range"),
            };
            report.reject(format!("spec.connections.{field}"), message, format!("write 1 to {LONGEST}"));
        }
        Some(Duration::from_secs(seconds.into()))
    };
    Lifetime {
        idle: within("idleTimeoutSeconds", spec.idle_timeout_seconds),
        longest: within("maxDurationSeconds", spec.max_duration_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finding, Kind, ObjectRef};

    fn parsed(spec: &str) -> Result<Lifetime, Vec<String>> {
        let object = ObjectRef { kind: Kind::TrafficPolicy, namespace: "shop".into(), name: "p".into() };
        let mut report = Report::new(object);
        let lifetime = parse(&mut report, &serde_saphyr::from_str(spec).unwrap());
        let fields = |findings: Vec<Finding>| findings.iter().map(|f| f.field.to_string()).collect();
        report.finish(lifetime).map(|parsed| parsed.object).map_err(fields)
    }

    #[test]
    fn each_is_asked_for_by_itself_and_kept_to_the_second() {
        let idle = Lifetime { idle: Some(Duration::from_secs(1)), longest: None };
        assert_eq!(parsed("{idleTimeoutSeconds: 1}"), Ok(idle));
        let longest = Lifetime { idle: None, longest: Some(Duration::from_hours(30 * 24)) };
        assert_eq!(parsed("{maxDurationSeconds: 2592000}"), Ok(longest));
        for (spec, field) in [
            ("{idleTimeoutSeconds: 0}", "idleTimeoutSeconds"),
            ("{idleTimeoutSeconds: 2592001}", "idleTimeoutSeconds"),
            ("{idleTimeoutSeconds: 5, maxDurationSeconds: 0}", "maxDurationSeconds"),
        ] {
            assert_eq!(parsed(spec).unwrap_err(), [format!("spec.connections.{field}")], "{spec}");
        }
    }
}
