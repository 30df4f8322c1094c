//! `/metrics`, its reference page, and the dashboard that is made of them.

use crate::agent::Agent;
use crate::answers;
use mesh_userspace::metrics::{exposition, family};
use serde_json::Value;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/mesh.json");

/// What a page declares: name, type and unit.
fn declared(page: &str) -> Vec<(&str, &str)> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// Whether a line is a sample of this metric.
fn shows(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix(name).unwrap_or_default();
    ["{", " ", "_bucket"].iter().any(|next| rest.starts_with(next))
}

#[test]
fn the_page_declares_every_metric_and_shows_it_with_its_labels() {
    let page = exposition::render(answers::figures(&answers::status())).unwrap();
    let kinds: Vec<_> = family::ALL.iter().map(|family| family.kind.name()).collect();
    assert_eq!(declared(&page).into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), kinds);
    for family in family::ALL {
        let name = family.to_string();
        // A limit that no Service has is no series.
        if *family.stem != *family::BACKEND_LIMIT.stem {
            let series = page.lines().find(|line| shows(line, &name)).unwrap_or_else(|| panic!("no {name}:\n{page}"));
            for label in family.labels {
                assert!(series.contains(&format!("{label}=\"")), "{series}");
            }
        }
    }
    for line in [
        "mesh_service_connections_admitted_total{namespace=\"shop\",service=\"cart\",reason=\"selected\"} 1232",
        "mesh_service_connections_refused_total{namespace=\"shop\",service=\"cart\",reason=\"service-limit\"} 40",
        "mesh_service_connections_limit{namespace=\"shop\",service=\"cart\"} 100.0",
        "mesh_map_entries{map=\"SLOTS\"} 500000.0",
        "mesh_change_duration_seconds_bucket{le=\"0.01\"} 1",
        "mesh_source_connected{source=\"/etc/mesh\"} 1.0",
        "mesh_findings{severity=\"rejected\"} 0.0",
        "mesh_ready 1.0",
        "mesh_events_lost_total 4",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line}:\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn the_reference_page_has_each_metric_and_no_other() {
    let rows: Vec<&str> =
        DOCUMENT.lines().filter(|line| line.starts_with("| `mesh_") && line.ends_with(". |")).collect();
    let wanted: Vec<String> = family::ALL
        .iter()
        .map(|family| {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{family}` | {} | {} | {}. |", family.kind.name(), labels.join(", "), family.help)
        })
        .collect();
    for row in &wanted {
        assert!(rows.contains(&row.as_str()), "docs/metrics.md lacks {row}");
    }
    assert_eq!(rows.len(), wanted.len(), "docs/metrics.md has a metric that is none");
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist_and_for_all_that_matter() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let names: BTreeSet<String> = family::ALL
        .iter()
        .map(|family| match family.kind {
            family::Kind::Histogram => format!("{family}_bucket"),
            _ => family.to_string(),
        })
        .collect();
    let mut used = BTreeSet::new();
    texts(&dashboard, &mut |text| {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        used.extend(words.filter(|word| word.starts_with("mesh_")).map(str::to_owned));
    });
    let unknown: Vec<_> = used.difference(&names).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
    assert!(used.len() > family::ALL.len() * 3 / 4, "the dashboard leaves out {:?}", names.difference(&used));
}

/// Every text in a value.
fn texts(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, take)),
        Value::Object(map) => map.values().for_each(|item| texts(item, take)),
        _ => {}
    }
}

#[test]
fn one_page_serves_all_who_ask_within_a_second() {
    let agent = Agent::new();
    let first = crate::http::get(&agent, "/metrics");
    assert!(first.0 == 200 && first.1.contains("mesh_problems 0.0\n"), "{}", first.1);
    agent.change(|state| crate::agent::degrade(&mut state.status));
    assert_eq!(crate::http::get(&agent, "/metrics"), first);
    while crate::http::get(&agent, "/metrics").1.contains("mesh_problems 0.0\n") {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn s17_a_node_that_is_about_to_go_fails_healthz_and_not_livez() {
    let agent = Agent::new();
    let health = |body: &str| serde_json::from_str::<Value>(body).unwrap();
    let (code, body) = crate::http::get(&agent, "/healthz");
    assert_eq!((code, &health(&body)["nodeEligible"]), (200, &Value::Bool(true)));
    assert_eq!(health(&body)["lastUpdated"], health(&body)["currentTime"]);
    agent.change(|state| state.status.node_eligible = false);
    let (code, body) = crate::http::get(&agent, "/healthz");
    assert_eq!((code, &health(&body)["nodeEligible"]), (503, &Value::Bool(false)));
    for path in ["/livez", "/readyz"] {
        assert_eq!(crate::http::get(&agent, path).0, 200, "{path}");
    }
}
