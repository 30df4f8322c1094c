use super::super::tests::{parse_rule, understood};
use super::*;
use crate::model::Severity;
use serde_json::json;

fn detection(written: &Value) -> Option<OutlierDetection> {
    let (policy, reported) = understood(&json!({"outlierDetection": written}));
    assert_eq!(reported, Vec::<String>::new(), "{written}");
    policy.outlier
}

#[test]
fn what_is_not_written_is_as_in_istio() {
    let expected = OutlierDetection {
        connects: 5,
        resets: 5,
        slow: SlowRule::default(),
        base_ejection: 30_000,
        max_ejection: 300_000,
        interval: 10_000,
        max_ejection_percent: 10,
        min_health_percent: 0,
        probe: None,
    };
    assert_eq!(detection(&json!({})), Some(expected));
    let written =
        json!({"baseEjectionTime": "1h", "interval": "1m30s", "maxEjectionPercent": 100, "minHealthPercent": 40});
    let expected = OutlierDetection {
        base_ejection: 3_600_000,
        max_ejection: 3_600_000,
        interval: 90_000,
        max_ejection_percent: 100,
        min_health_percent: 40,
        ..expected
    };
    assert_eq!(detection(&written), Some(expected));
}

#[test]
fn the_lower_of_two_counts_ejects_and_local_ones_may_be_apart() {
    for (written, expected) in [
        (json!({"consecutive5xxErrors": 7, "consecutiveGatewayErrors": 3}), Some((3, 3))),
        (json!({"consecutive5xxErrors": 0, "consecutiveGatewayErrors": 3}), Some((3, 3))),
        (json!({"consecutiveErrors": 9}), Some((9, 9))),
        (json!({"consecutiveLocalOriginFailures": 2}), Some((5, 5))),
        (json!({"consecutiveLocalOriginFailures": 2, "splitExternalLocalOriginErrors": true}), Some((2, 5))),
        (json!({"consecutive5xxErrors": 0}), None),
    ] {
        let detection = detection(&written).map(|detection| (detection.connects, detection.resets));
        assert_eq!(detection, expected, "{written}");
    }
}

#[test]
fn nonsense_is_rejected_and_what_is_too_much_is_reported() {
    for (field, value) in [
        ("consecutive5xxErrors", json!(-1)),
        ("interval", json!("soon")),
        ("interval", json!(5)),
        ("baseEjectionTime", json!("0s")),
        ("maxEjectionPercent", json!(101)),
    ] {
        let traffic = json!({"outlierDetection": {field: value}});
        let findings = parse_rule(json!({"host": "cart", "trafficPolicy": traffic})).unwrap_err();
        let of_field =
            |finding: &crate::model::Finding| finding.severity == Severity::Rejected && finding.field.ends_with(field);
        assert!(findings.iter().any(of_field), "{field}: {findings:?}");
    }
    let (policy, reported) = understood(&json!({"outlierDetection": {"consecutive5xxErrors": 1000}}));
    assert_eq!(policy.outlier.map(|detection| detection.resets), Some(255));
    assert_eq!(reported, ["spec.trafficPolicy.outlierDetection.consecutive5xxErrors: write less"]);
}
