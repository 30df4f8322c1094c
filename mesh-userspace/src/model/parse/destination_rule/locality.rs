//! `localityLbSetting` of a rule: how connections are shared out among places, or which places come first.

use crate::model::parse::names::Names;
use crate::model::parse::report::Report;
use crate::model::{Balance, Failover, Level, Locality, Part, Preference, Which};
use serde_json::Value;

const WRITE_PLACE: &str = "write region/zone/subzone, region/zone/*, region/* or *";

/// Reads `localityLbSetting` of the `loadBalancer` at `base`.
pub fn read(names: &mut Names, report: &mut Report, base: &str, traffic: &Value) -> Balance {
    let base = format!("{base}.localityLbSetting");
    let written = &traffic["loadBalancer"]["localityLbSetting"];
    if !written.is_object() || written["enabled"] == Value::Bool(false) {
        return Balance::default();
    }
    let list = |name: &str| written[name].as_array().filter(|entries| !entries.is_empty());
    let (distribute, failover, labels) = (list("distribute"), list("failover"), list("failoverPriority"));
    if [distribute, failover, labels].iter().flatten().count() > 1 {
        let message = "only one of distribute, failover and failoverPriority can hold";
        report.reject(&*base, message, "write one of them");
        return Balance::default();
    }
    if let Some(distribute) = distribute {
        return Balance { split: split(names, report, &base, distribute), ..Balance::default() };
    }
    let failover = failovers(names, report, &base, failover.map_or(&[], Vec::as_slice));
    let prefer = match labels {
        Some(labels) => by_labels(names, report, &base, labels),
        None => [Level::Region, Level::Zone, Level::Subzone].map(Preference::own).into(),
    };
    if traffic["outlierDetection"].is_null() {
        let message = "without outlierDetection beside it it says nothing, as in Istio";
        report.unsupported(base, message, "write outlierDetection, and the node's own zone comes first");
        return Balance::default();
    }
    Balance { prefer, failover, ..Balance::default() }
}

/// `distribute`: which part of the connections of clients in one place goes to which.
fn split(names: &mut Names, report: &mut Report, base: &str, distribute: &[Value]) -> Vec<Part> {
    let mut split = Vec::new();
    for (i, entry) in distribute.iter().enumerate() {
        let field = format!("{base}.distribute[{i}]");
        let Some(from) = entry["from"].as_str().and_then(|from| locality(names, from)) else {
            report.reject(format!("{field}.from"), format!("{} is no place", entry["from"]), WRITE_PLACE);
            continue;
        };
        let Some(to) = entry["to"].as_object().filter(|to| !to.is_empty()) else {
            let action = "write a map of places to per cent, as region/zone/*: 80";
            report.reject(format!("{field}.to"), "it does not say to where", action);
            continue;
        };
        let first = split.len();
        for (target, percent) in to {
            let Some(place) = locality(names, target) else {
                report.reject(format!("{field}.to"), format!("{target:?} is no place"), WRITE_PLACE);
                continue;
            };
            let Some(percent) = percent.as_u64().filter(|percent| *percent <= 100) else {
                report.reject(format!("{field}.to"), format!("{percent} is no per cent"), "write 0 to 100");
                continue;
            };
            let which = if place.is_everywhere() { Which::Any } else { Which::At(place) };
            split.push(Part { entry: i as u32, from: from.clone(), which, percent: percent as u32 });
        }
        // What is named more exactly comes before what is left.
        split[first..].sort_by_key(|part| match &part.which {
            Which::At(place) => [&place.subzone, &place.zone, &place.region].map(|level| level.is_empty()),
            _ => [true; 3],
        });
    }
    split
}

/// `failover`: to which region those of another go.
fn failovers(names: &mut Names, report: &mut Report, base: &str, entries: &[Value]) -> Vec<Failover> {
    let mut failovers = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let mut region = |name: &str| {
            let written = &entry[name];
            let region = written.as_str().filter(|text| !text.is_empty() && !text.contains(['/', '*']));
            if region.is_none() {
                let field = format!("{base}.failover[{i}].{name}");
                report.reject(field, format!("{written} is no region"), "write the name of a region alone");
            }
            Some(names.share(region?))
        };
        let (Some(from), Some(to)) = (region("from"), region("to")) else { continue };
        if from == to {
            let field = format!("{base}.failover[{i}].to");
            report.reject(field, format!("{to} is where they come from"), "write another region");
        }
        failovers.push(Failover { from, to });
    }
    failovers
}

/// `failoverPriority`: labels of nodes, of which the first ones weigh most. One that endpoints do not have ends the list.
fn by_labels(names: &mut Names, report: &mut Report, base: &str, labels: &[Value]) -> Vec<Preference> {
    let mut prefer = Vec::new();
    for (i, label) in labels.iter().enumerate() {
        let text = label.as_str().unwrap_or_default();
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        let Some(level) = Level::ALL.into_iter().find(|level| level.label() == key) else {
            report.unsupported(
                format!("{base}.failoverPriority[{i}]"),
                format!("{label}: of endpoints the agent knows no label but those of their nodes' places"),
                format!("write {}", Level::ALL.map(Level::label).join(", ")),
            );
            break;
        };
        prefer.push(Preference { level, value: value.map(|value| names.share(value)) });
    }
    prefer
}

/// A place as Istio writes it: `region/zone/subzone`, with `*` for all that is left.
fn locality(names: &mut Names, written: &str) -> Option<Locality> {
    let mut levels: Vec<&str> = written.split('/').collect();
    while levels.last() == Some(&"*") {
        levels.pop();
    }
    if levels.len() > 3 || written.split('/').count() > 3 || levels.iter().any(|level| matches!(*level, "" | "*")) {
        return None;
    }
    let mut level = |i: usize| names.share_option(levels.get(i).copied());
    Some(Locality { region: level(0), zone: level(1), subzone: level(2) })
}
