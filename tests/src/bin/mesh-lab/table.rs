//! The table: who reached which backend, what was refused and why, what is open now.

use crate::figures::Figures;
use crate::traffic::Visits;
use std::collections::{BTreeMap, BTreeSet};

/// The lines of the table. `figures` are the agent's last; `fresh` says whether it still answers.
pub fn lines(clients: &[String], visits: &Visits, figures: &Figures, fresh: bool) -> Vec<String> {
    let mut rows = vec![header(clients)];
    let states = states(figures);
    let services: BTreeSet<_> = states.keys().map(|(service, _)| service.clone()).collect();
    for service in services {
        let mut label = service.clone();
        for ((_, backend), (state, open)) in states.iter().filter(|((s, _), _)| *s == service) {
            let mut row = vec![std::mem::take(&mut label), backend.clone(), state.clone()];
            row.extend(clients.iter().map(|client| {
                visits
                    .reached
                    .get(&(service.clone(), backend.clone(), client.clone()))
                    .copied()
                    .unwrap_or_default()
                    .to_string()
            }));
            row.push(open.to_string());
            rows.push(row);
        }
        if let Some(refusals) = figures.refusals.get(&service) {
            let refusals: Vec<_> = refusals.iter().map(|(reason, times)| format!("{times} x {reason}")).collect();
            rows.push(vec![label, format!("refused: {}", refusals.join(", "))]);
        }
    }
    let mut lines = align(&rows);
    lines.insert(0, String::new());
    if !fresh {
        lines.push("  (the agent does not run: STATE, OPEN and refusals are its last words)".to_owned());
    }
    lines
}

fn header(clients: &[String]) -> Vec<String> {
    let reached = clients.iter().map(|client| format!("FROM {}", client.to_uppercase()));
    ["SERVICE", "BACKEND", "STATE"].map(str::to_owned).into_iter().chain(reached).chain(["OPEN".to_owned()]).collect()
}

/// State and open connections by Service and pod, over all ports and families.
fn states(figures: &Figures) -> BTreeMap<(String, String), (String, u64)> {
    let mut states: BTreeMap<(String, String), (String, u64)> = BTreeMap::new();
    for backend in &figures.backends {
        let who = if backend.pod.is_empty() { backend.address.to_string() } else { backend.pod.clone() };
        let place = states.entry((backend.service.label(), who)).or_insert_with(|| (backend.state.clone(), 0));
        place.1 += backend.active;
    }
    states
}

/// Columns as wide as their widest cell, figures to the right; a row's last cell may be as long as it likes.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows[0].len();
    let whole = rows.iter().filter(|row| row.len() == columns);
    let widths: Vec<_> =
        (0..columns).map(|column| whole.clone().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0..3 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_shows_who_reached_whom() {
        let backend = |pod: &str, port: u16, active: u64| {
            json!({"service": {"namespace": "shop", "name": "web"}, "address": "10.244.0.2", "port": port,
                   "protocol": "TCP", "pod": pod, "state": "eligible", "active": active})
        };
        let backends = json!([backend("web-1", 80, 1), backend("web-1", 81, 2), backend("web-2", 80, 0)]);
        let mut figures = Figures { backends: serde_json::from_value(backends).unwrap(), ..Figures::default() };
        figures.refusals.insert("shop/web".into(), [("service-limit".to_owned(), 5)].into());
        let mut visits = Visits::default();
        visits.reached.insert(("shop/web".into(), "web-1".into(), "client-1".into()), 1234);
        let lines = lines(&["client-1".into()], &visits, &figures, false);
        let expected = [
            "",
            "  SERVICE   BACKEND  STATE     FROM CLIENT-1  OPEN",
            "  shop/web  web-1    eligible           1234     3",
            "            web-2    eligible              0     0",
            "            refused: 5 x service-limit",
            "  (the agent does not run: STATE, OPEN and refusals are its last words)",
        ];
        assert_eq!(lines, expected);
    }
}
