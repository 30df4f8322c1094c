//! `outlierDetection` of a `DestinationRule`, with Istio's defaults.

use crate::model::OutlierDetection;
use crate::model::parse::report::Report;
use mesh_common::tables::SlowRule;
use serde_json::Value;

/// Most failures in a row that are told apart.
const MOST: u64 = 255;

/// The longest time: a day, in milliseconds.
const LONGEST: u64 = 86_400_000;

/// What is asked for; `None` where nothing is, or where nothing ejects. What is wrong goes to the report.
pub(super) fn outlier_detection(report: &mut Report, traffic: &Value) -> Option<OutlierDetection> {
    let written = traffic["outlierDetection"].as_object()?;
    let mut fields = Fields { report, written: &Value::Object(written.clone()) };
    let old = fields.count("consecutiveErrors");
    let external = fields.count("consecutive5xxErrors").or(old).unwrap_or(5);
    let gateway = fields.count("consecutiveGatewayErrors").unwrap_or(0);
    let local = fields.count("consecutiveLocalOriginFailures").unwrap_or(5);
    // Over opaque TCP both count the same failures: the lower one ejects first.
    let external = if gateway > 0 && (external == 0 || gateway < external) { gateway } else { external };
    let split = fields.written["splitExternalLocalOriginErrors"].as_bool().unwrap_or_default();
    let base_ejection = fields.time("baseEjectionTime").unwrap_or(30_000);
    let detection = OutlierDetection {
        connects: if split { local } else { external },
        resets: external,
        slow: SlowRule::default(),
        base_ejection,
        // What Envoy does unless told otherwise, and Istio does not tell.
        max_ejection: base_ejection.max(300_000),
        interval: fields.time("interval").unwrap_or(10_000),
        max_ejection_percent: fields.percent("maxEjectionPercent").unwrap_or(10),
        min_health_percent: fields.percent("minHealthPercent").unwrap_or(0),
        probe: None,
    };
    (detection.connects > 0 || detection.resets > 0).then_some(detection)
}

struct Fields<'a> {
    report: &'a mut Report,
    written: &'a Value,
}

impl Fields<'_> {
    fn reject(&mut self, name: &str, what: &str, action: &str) {
        let field = format!("spec.trafficPolicy.outlierDetection.{name}");
        self.report.reject(field, format!("{} is no {what}", self.written[name]), action);
    }

    fn count(&mut self, name: &str) -> Option<u8> {
        let value = &self.written[name];
        if value.is_null() {
            return None;
        }
        let Some(count) = value.as_u64().filter(|&count| u32::try_from(count).is_ok()) else {
            self.reject(name, "number of failures", "write 0 to 255");
            return None;
        };
        if count > MOST {
            let field = format!("spec.trafficPolicy.outlierDetection.{name}");
            self.report.unsupported(
                field,
                format!("{MOST} failures in a row are the most that are counted"),
                "write less",
            );
        }
        Some(count.min(MOST) as u8)
    }

    fn percent(&mut self, name: &str) -> Option<u32> {
        let value = &self.written[name];
        if value.is_null() {
            return None;
        }
        let percent = value.as_u64().and_then(|percent| u32::try_from(percent).ok()).filter(|&percent| percent <= 100);
        if percent.is_none() {
            self.reject(name, "percentage", "write 0 to 100");
        }
        percent
    }

    /// Milliseconds, 1 or more.
    fn time(&mut self, name: &str) -> Option<u64> {
        let value = &self.written[name];
        if value.is_null() {
            return None;
        }
        let time = value.as_str().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
        let milliseconds = time.and_then(|time| u64::try_from(time.as_millis()).ok());
        let milliseconds = milliseconds.filter(|time| (1..=LONGEST).contains(time));
        if milliseconds.is_none() {
            self.reject(name, "duration of 1ms to 24h", "write it as 30s, 5m or 1h");
        }
        milliseconds
    }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
