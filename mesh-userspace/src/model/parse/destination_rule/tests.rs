use super::*;
use crate::model::{Failover, Level, Locality, Part, Preference, Severity, SlowStart, Which};
use mesh_common::select::{Algorithm, HashBy};
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
            json!({"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM", "consistentHash": {"useSourceIp": true}}}}),
            "spec.trafficPolicy.loadBalancer.consistentHash",
        ),
        (
            json!({"host": "a", "trafficPolicy": {"loadBalancer": {"warmup": {"duration": "-1s"}}}}),
            "spec.trafficPolicy.loadBalancer.warmup.duration",
        ),
        (
            json!({"host": "a", "trafficPolicy": {"loadBalancer": {"warmup": {"duration": "1s", "aggression": 0.5}}}}),
            "spec.trafficPolicy.loadBalancer.warmup.aggression",
        ),
        (
            json!({"host": "a", "trafficPolicy": {"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "a/b", "to": {"a/b": 101}}]}}}}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
        ),
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

fn place(written: [&str; 3]) -> Locality {
    let [region, zone, subzone] = written.map(Into::into);
    Locality { region, zone, subzone }
}

#[test]
fn hashing_by_source_is_maglev_by_client() {
    let (policy, reported) =
        understood(&json!({"loadBalancer": {"consistentHash": {"useSourceIp": true, "maglev": {"tableSize": 1021}}}}));
    assert_eq!((policy.algorithm, reported.len()), (Some(Algorithm::Maglev), 0), "{reported:?}");
    assert_eq!((policy.balance.hash, policy.balance.table_size), (HashBy::Client, 1021));
    let (policy, reported) =
        understood(&json!({"loadBalancer": {"consistentHash": {"useSourceIp": true, "maglev": {"tableSize": 65537}}}}));
    assert_eq!((policy.balance.table_size, reported.len()), (16_381, 1));
    let (policy, _) = understood(&json!({"loadBalancer": {"consistentHash": {"useSourceIp": false}}}));
    assert_eq!((policy.algorithm, policy.targets.len()), (None, 0));
}

#[test]
fn warming_up_is_slow_start_by_its_new_name_and_by_its_old_one() {
    let slow_start = |window_seconds, min_percent, aggression| SlowStart { window_seconds, min_percent, aggression };
    for (written, expected) in [
        (json!({"warmupDurationSecs": "1m30s"}), slow_start(90, 10, 100)),
        (json!({"warmup": {"duration": "1500ms"}}), slow_start(2, 10, 100)),
        (
            json!({"warmup": {"duration": "300s", "minimumPercent": 0, "aggression": 2.5}, "warmupDurationSecs": "9s"}),
            slow_start(300, 1, 250),
        ),
    ] {
        let (policy, reported) = understood(&json!({"loadBalancer": written}));
        assert_eq!((policy.balance.slow_start, reported.len()), (Some(expected), 0), "{reported:?}");
        assert_eq!(policy.targets.len(), 1);
    }
    // A new backend is new at every port.
    let (policy, reported) = understood(&json!({"portLevelSettings": [
        {"port": {"number": 80}, "loadBalancer": {"warmup": {"duration": "1s"}}},
    ]}));
    assert_eq!((policy.balance_of(80).slow_start, reported.len()), (None, 1));
}

#[test]
fn localities_are_regions_zones_and_sub_zones() {
    let locality = |setting: Value| understood(&json!({"loadBalancer": {"localityLbSetting": setting}}));
    let (policy, reported) = locality(json!({"enabled": true, "distribute": [
        {"from": "eu/a/*", "to": {"*": 10, "eu/*": 20, "eu/a/*": 30, "us/c/1": 40}},
        {"from": "eu", "to": {"eu/b": 100}},
        {"from": "*/*", "to": {"us/*/*": 100}},
    ]}));
    assert!(reported.is_empty(), "{reported:?}");
    let part = |entry, from, to: Option<[&str; 3]>, percent| Part {
        entry,
        from: place(from),
        which: to.map_or(Which::Any, |to| Which::At(place(to))),
        percent,
    };
    let expected = [
        part(0, ["eu", "a", ""], Some(["us", "c", "1"]), 40),
        part(0, ["eu", "a", ""], Some(["eu", "a", ""]), 30),
        part(0, ["eu", "a", ""], Some(["eu", "", ""]), 20),
        part(0, ["eu", "a", ""], None, 10),
        part(1, ["eu", "", ""], Some(["eu", "b", ""]), 100),
        part(2, ["", "", ""], Some(["us", "", ""]), 100),
    ];
    assert_eq!(policy.balance.split, expected);
    assert!(policy.balance.names_regions() && policy.balance.looks_at_places());
    let (policy, _) = locality(json!({"distribute": [{"from": "eu/a", "to": {"eu/a": 100}}]}));
    assert!(!policy.balance.names_regions(), "a zone is told by its name");
    for wrong in ["", "eu//1", "*/a/*", "eu/*/1", "a/b/c/d", "a/b/c/*"] {
        for entry in [json!({"from": wrong, "to": {"*": 100}}), json!({"from": "eu", "to": {wrong: 100}})] {
            let spec = json!({"host": "cart", "trafficPolicy": {"loadBalancer": {"localityLbSetting": {"distribute": [entry]}}}});
            let findings = parse_rule(spec.clone()).unwrap_err();
            assert!(findings.iter().any(|finding| finding.message.ends_with("is no place")), "{spec}: {findings:?}");
        }
    }
}

#[test]
fn what_is_near_comes_first_where_istio_would_have_it_so() {
    let outliers = json!({"consecutive5xxErrors": 7});
    let own = |levels: &[Level]| levels.iter().copied().map(Preference::own).collect::<Vec<_>>();
    let usual = own(&[Level::Region, Level::Zone, Level::Subzone]);
    let to_us = vec![Failover { from: "eu".into(), to: "us".into() }];
    for (setting, outliers, expected, failover, reports) in [
        (json!({"enabled": true}), &outliers, usual.clone(), vec![], 0),
        (json!({}), &outliers, usual.clone(), vec![], 0),
        (json!({"enabled": false, "failover": [{"from": "eu", "to": "us"}]}), &outliers, vec![], vec![], 0),
        (json!({"enabled": true}), &Value::Null, vec![], vec![], 1),
        (json!({"failover": [{"from": "eu", "to": "us"}]}), &outliers, usual.clone(), to_us, 0),
        (json!({"failover": [{"from": "eu", "to": "us"}]}), &Value::Null, vec![], vec![], 1),
        (
            json!({"failoverPriority": ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]}),
            &outliers,
            own(&[Level::Zone, Level::Node]),
            vec![],
            0,
        ),
        (
            json!({"failoverPriority": ["topology.kubernetes.io/region=eu", "version", "topology.kubernetes.io/zone"]}),
            &outliers,
            vec![Preference { level: Level::Region, value: Some("eu".into()) }],
            vec![],
            1,
        ),
        (json!({"failoverPriority": ["version"]}), &outliers, vec![], vec![], 1),
    ] {
        let traffic = json!({"loadBalancer": {"localityLbSetting": setting}, "outlierDetection": outliers});
        let (policy, reported) = understood(&traffic);
        assert_eq!((&policy.balance.prefer, &policy.balance.failover), (&expected, &failover), "{traffic}");
        assert_eq!(reported.len(), reports, "{traffic}: {reported:?}");
    }
    // A port that is listed has its own.
    let (policy, _) = understood(&json!({
        "loadBalancer": {"localityLbSetting": {"enabled": true}},
        "outlierDetection": outliers,
        "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}],
    }));
    assert_eq!([80, 81].map(|port| policy.balance_of(port).prefer.len()), [0, 3]);
}

#[test]
fn places_that_exclude_each_other_are_rejected() {
    let entry = json!([{"from": "eu", "to": "us"}]);
    let distribute = json!([{"from": "eu", "to": {"us": 100}}]);
    let zone = json!(["topology.kubernetes.io/zone"]);
    for setting in [
        json!({"distribute": distribute, "failover": entry}),
        json!({"distribute": distribute, "failoverPriority": zone}),
        json!({"failover": entry, "failoverPriority": zone}),
        json!({"failover": [{"from": "eu", "to": "eu"}]}),
        json!({"failover": [{"from": "eu/a", "to": "us"}]}),
        json!({"failover": [{"from": "eu"}]}),
        json!({"failover": [{"from": "eu", "to": "*"}]}),
    ] {
        let traffic = json!({"loadBalancer": {"localityLbSetting": setting}, "outlierDetection": {}});
        let findings = parse_rule(json!({"host": "cart", "trafficPolicy": traffic})).unwrap_err();
        assert!(findings[0].field.contains("localityLbSetting"), "{setting}: {findings:?}");
    }
}
