//! `spec.drain` of a `TrafficPolicy` and the annotation `mesh.dev/drain` of a Service, as they are written and understood.

use super::report::Report;
use crate::model::Drain;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest grace time: a day, in seconds.
const LONGEST: u32 = 86_400;

/// What becomes of open connections to an endpoint that is removed. Without it TCP is kept and UDP is ended. An endpoint
/// that is terminating is not removed yet.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [grace_ends()]))]
pub struct DrainSpec {
    /// Keep: they go on until they end. End: they are ended, the client sees ECONNABORTED and connects anew.
    #[schemars(schema_with = "modes")]
    pub mode: String,
    /// With End: how many seconds after the endpoint was removed; at once by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub grace_period_seconds: Option<u32>,
}

const MODES: [&str; 2] = ["Keep", "End"];

fn modes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": MODES })
}

/// The rule that what is kept has no grace time.
fn grace_ends() -> serde_json::Value {
    serde_json::json!({
        "rule": "!has(self.gracePeriodSeconds) || self.mode == 'End'",
        "message": "gracePeriodSeconds needs mode End",
    })
}

/// Understands the field; what is wrong goes to the report.
pub(super) fn parse(report: &mut Report, spec: &DrainSpec) -> Drain {
    const GRACE: &str = "spec.drain.gracePeriodSeconds";
    if let Some(seconds) = spec.grace_period_seconds.filter(|seconds| !(1..=LONGEST).contains(seconds)) {
        report.reject(GRACE, format!("{seconds} is out of range"), format!("write 1 to {LONGEST}"));
    }
    match (spec.mode.as_str(), spec.grace_period_seconds) {
        ("Keep", None) => Drain::Keep,
        ("Keep", Some(_)) => {
            report.reject(GRACE, "what is kept has no grace time", "write mode: End, or remove it");
            Drain::Keep
        }
        ("End", None) => Drain::End,
        ("End", Some(seconds)) => Drain::EndAfter(Duration::from_secs(seconds.into())),
        (other, _) => {
            let action = format!("write {}", MODES.join(" or "));
            report.reject("spec.drain.mode", format!("{other:?} is no way to drain"), action);
            Drain::default()
        }
    }
}

/// Understands the annotation's value: `Keep`, `End`, or a grace time in whole seconds such as `30s` or `5m`.
pub(super) fn annotation(report: &mut Report, field: String, value: &str) -> Drain {
    match value {
        "Keep" => return Drain::Keep,
        "End" => return Drain::End,
        _ => {}
    }
    let time = value.parse::<jiff::SignedDuration>().ok().filter(|time| time.subsec_nanos() == 0);
    let seconds = time.and_then(|time| u64::try_from(time.as_secs()).ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=u64::from(LONGEST)).contains(seconds)) else {
        let message = format!("{value:?} is no way to drain");
        report.reject(field, message, "write Keep, End, or after which time to end, 1s to 24h in whole seconds");
        return Drain::default();
    };
    Drain::EndAfter(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finding, Kind, ObjectRef};

    fn understood(understand: impl FnOnce(&mut Report) -> Drain) -> Result<Drain, String> {
        let object = ObjectRef { kind: Kind::TrafficPolicy, namespace: "shop".into(), name: "p".into() };
        let mut report = Report::new(object);
        let drain = understand(&mut report);
        let fields =
            |findings: Vec<Finding>| findings.iter().map(|f| f.field.to_string()).collect::<Vec<_>>().join(",");
        report.finish(drain).map(|parsed| parsed.object).map_err(fields)
    }

    #[test]
    fn the_field_means_what_it_says_and_nonsense_is_rejected_with_its_field() {
        let parsed = |spec: &str| understood(|report| parse(report, &serde_saphyr::from_str(spec).unwrap()));
        assert_eq!(parsed("{mode: Keep}"), Ok(Drain::Keep));
        assert_eq!(parsed("{mode: End}"), Ok(Drain::End));
        let after = Drain::EndAfter(Duration::from_hours(24));
        assert_eq!(parsed("{mode: End, gracePeriodSeconds: 86400}"), Ok(after));
        for (spec, field) in [
            ("{mode: Later}", "spec.drain.mode"),
            ("{mode: Keep, gracePeriodSeconds: 5}", "spec.drain.gracePeriodSeconds"),
            ("{mode: End, gracePeriodSeconds: 0}", "spec.drain.gracePeriodSeconds"),
            ("{mode: End, gracePeriodSeconds: 86401}", "spec.drain.gracePeriodSeconds"),
        ] {
            assert_eq!(parsed(spec), Err(field.to_owned()), "{spec}");
        }
    }

    #[test]
    fn the_annotation_is_a_word_or_a_time() {
        let parsed = |value: &str| understood(|report| annotation(report, "a".to_owned(), value));
        assert_eq!(parsed("Keep"), Ok(Drain::Keep));
        assert_eq!(parsed("End"), Ok(Drain::End));
        for (value, seconds) in [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("24h", 86_400)] {
            assert_eq!(parsed(value), Ok(Drain::EndAfter(Duration::from_secs(seconds))), "{value}");
        }
        for value in ["", "0s", "-5s", "1.5s", "30", "25h", "end", "soon"] {
            assert_eq!(parsed(value), Err("a".to_owned()), "{value}");
        }
    }
}
