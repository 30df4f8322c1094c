use super::*;
use crate::model::Severity;
use serde_json::json;

pub(super) fn parse_rule(spec: Value) -> Result<Parsed<Policy>, Vec<Finding>> {
    let metadata = ObjectMeta { name: Some("r".into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
    parse(&mut Names::default(), &DestinationRuleManifest { metadata, spec })
}

pub(super) fn understood(traffic: &Value) -> (Policy, Vec<String>) {
    let parsed = parse_rule(json!({"host": "cart", "trafficPolicy": traffic})).unwrap();
    assert!(parsed.findings.iter().all(|finding| finding.severity == Severity::Unsupported));
    let fields = parsed.findings.iter().map(|f| format!("{}: {}", f.field, f.action));
    (parsed.object, fields.collect())
}

#[test]
fn what_people_mostly_write_is_honoured_or_named() {
    let (policy, reported) = understood(&json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "connectionPool": {
            "tcp": {"maxConnections": 100, "connectTimeout": "30ms", "tcpKeepalive": {"time": "7200s"}},
            "http": {"http2MaxRequests": 1000, "maxRequestsPerConnection": 10},
        },
        "outlierDetection": {"consecutiveErrors": 7, "interval": "5m"},
        "tls": {"mode": "ISTIO_MUTUAL"},
    }));
    assert_eq!(policy.targets, [ServiceKey::new("shop", "cart")]);
    assert_eq!((policy.limits.max_connections, policy.algorithm), (Some(100), Some(Algorithm::RoundRobin)));
    let fields: Vec<&str> = reported.iter().map(|text| text.split(": ").next().unwrap()).collect();
    let expected = [
        "connectionPool.http.http2MaxRequests",
        "connectionPool.http.maxRequestsPerConnection",
        "connectionPool.tcp.connectTimeout",
        "connectionPool.tcp.tcpKeepalive",
        "tls.mode",
    ];
    assert_eq!(fields, expected.map(|field| format!("spec.trafficPolicy.{field}")));
}

#[test]
fn a_misplaced_field_says_nothing_and_is_told_its_place() {
    let (policy, reported) = understood(&json!({
        "loadBalancer": {"simple": "RANDOM"},
        "connectionPool": {"maxConnections": 5, "http": {"maxconnections": 5}},
        "simple": "ROUND_ROBIN",
        "portLevelSettings": [{"port": {"number": 80}, "exportTo": ["*"], "fastest": true}],
    }));
    assert_eq!(policy.limits.max_connections, None);
    let place = "write spec.trafficPolicy.connectionPool.tcp.maxConnections";
    assert_eq!(
        reported,
        [
            format!("spec.trafficPolicy.connectionPool.http.maxconnections: {place}"),
            format!("spec.trafficPolicy.connectionPool.maxConnections: {place}"),
            "spec.trafficPolicy.simple: write spec.trafficPolicy.loadBalancer.simple".to_owned(),
            "spec.trafficPolicy.portLevelSettings[0].exportTo: write spec.exportTo".to_owned(),
            "spec.trafficPolicy.portLevelSettings[0].fastest: remove it, or correct its name".to_owned(),
        ]
    );
}

#[test]
fn ports_have_their_own_settings_and_inherit_nothing() {
    let (policy, reported) = understood(&json!({
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "portLevelSettings": [
            {"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}, "connectionPool": {"tcp": {"maxConnections": 1}}},
            {"port": {"number": 81}, "tls": {"mode": "DISABLE"}},
            {"port": {"number": 80}, "loadBalancer": {"simple": "ROUND_ROBIN"}},
        ],
    }));
    let algorithms = [80, 81, 82].map(|port| policy.algorithm_of(port));
    assert_eq!(algorithms, [Some(Algorithm::Random), None, Some(Algorithm::RoundRobin)]);
    let [limit] = &reported[..] else { panic!("{reported:?}") };
    assert!(
        limit.starts_with("spec.trafficPolicy.portLevelSettings[0].connectionPool.tcp.maxConnections: "),
        "{limit}"
    );
}

#[test]
fn a_rule_that_is_for_some_clients_only_binds_nobody() {
    let traffic = json!({"connectionPool": {"tcp": {"maxConnections": 1}}});
    for (field, value, attached) in [
        ("exportTo", json!(["*"]), true),
        ("exportTo", json!([]), true),
        ("exportTo", json!(["."]), false),
        ("exportTo", json!(["other"]), false),
        ("workloadSelector", json!({"matchLabels": {"app": "web"}}), false),
    ] {
        let parsed = parse_rule(json!({"host": "cart", "trafficPolicy": traffic, field: value})).unwrap();
        assert_eq!(!parsed.object.targets.is_empty(), attached, "{field}: {value}");
        assert_eq!(parsed.findings.is_empty(), attached, "{field}: {value}: {:?}", parsed.findings);
    }
}

#[test]
fn a_rule_that_asks_for_nothing_that_is_served_takes_nothing_from_another() {
    for spec in [
        json!({"host": "cart", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}),
        json!({"host": "cart", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
        json!({"host": "cart", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 0}}}}),
    ] {
        assert_eq!(parse_rule(spec).unwrap().object.targets, []);
    }
}

#[test]
fn nonsense_is_rejected_with_its_field() {
    for (spec, field) in [
        (json!({"trafficPolicy": {}}), "spec.host"),
        (json!({"host": "a", "trafficPolicy": []}), "spec.trafficPolicy"),
        (
            json!({"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "BEST"}}}),
            "spec.trafficPolicy.loadBalancer.simple",
        ),
        (
            json!({"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": -1}}}}),
            "spec.trafficPolicy.connectionPool.tcp.maxConnections",
        ),
        (
            json!({"host": "a", "trafficPolicy": {"portLevelSettings": [{"port": {"number": 70000}}]}}),
            "spec.trafficPolicy.portLevelSettings[0].port.number",
        ),
    ] {
        let findings = parse_rule(spec.clone()).unwrap_err();
        assert!(
            findings.iter().any(|f| *f.field == *field && f.severity == Severity::Rejected),
            "{spec}: {findings:?}"
        );
    }
}

#[test]
fn every_simple_algorithm_of_the_table_is_read_or_reported() {
    use fields::{Fate, TRAFFIC};
    let simple = TRAFFIC.iter().find(|field| field.path == "loadBalancer.simple").unwrap();
    let Fate::Values(values) = simple.fate else { panic!() };
    for (value, fate) in values {
        let (policy, reported) = understood(&json!({"loadBalancer": {"simple": value}}));
        match fate {
            Fate::Honoured(_) => {
                assert_eq!((policy.algorithm.is_some(), reported.len()), (*value != "UNSPECIFIED", 0), "{value}");
            }
            _ => assert_eq!((policy.algorithm, reported.len()), (None, 1), "{value}"),
        }
    }
}
