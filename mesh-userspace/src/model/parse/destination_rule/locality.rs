//! `localityLbSetting` of a rule, as far as zones go: endpoints have a zone, and no region or sub-zone.

use crate::model::parse::names::Names;
use crate::model::parse::report::Report;
use crate::model::{Balance, Part, Which};
use serde_json::Value;

/// The label by which Kubernetes names a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

const NO_REGION: &str = "endpoints have a zone and no region or sub-zone, so it cannot be told apart";
const WRITE_ZONE: &str = "write region/zone/*";

/// Reads `localityLbSetting` of the `loadBalancer` at `base`.
pub fn read(names: &mut Names, report: &mut Report, base: &str, traffic: &Value) -> Balance {
    let base = format!("{base}.localityLbSetting");
    let written = &traffic["loadBalancer"]["localityLbSetting"];
    if !written.is_object() || written["enabled"] == Value::Bool(false) {
        return Balance::default();
    }
    if let Some(distribute) = written["distribute"].as_array().filter(|entries| !entries.is_empty()) {
        return Balance { split: split(names, report, &base, distribute), ..Balance::default() };
    }
    let by_other_labels = written["failoverPriority"]
        .as_array()
        .is_some_and(|labels| !labels.is_empty() && !labels.iter().any(|label| label == ZONE_LABEL));
    if by_other_labels {
        return Balance::default();
    }
    if traffic["outlierDetection"].is_null() {
        let message = "without outlierDetection beside it it says nothing, as in Istio";
        report.unsupported(base, message, "write outlierDetection, and the node's own zone comes first");
        return Balance::default();
    }
    Balance { prefer_same_zone: true, ..Balance::default() }
}

/// `distribute`: which part of the connections of clients in one place goes to which.
fn split(names: &mut Names, report: &mut Report, base: &str, distribute: &[Value]) -> Vec<Part> {
    let mut split = Vec::new();
    for (i, entry) in distribute.iter().enumerate() {
        let field = format!("{base}.distribute[{i}]");
        let from = match entry["from"].as_str().map(place) {
            Some(Place::Everywhere) if distribute.len() > 1 => {
                let message = "the first entry that matches holds, so an entry for all places is to be alone";
                report.unsupported(format!("{field}.from"), message, "write an entry for each zone");
                continue;
            }
            Some(Place::Everywhere) => None,
            Some(Place::Zone(zone)) => Some(names.share(zone)),
            Some(Place::Other) => {
                report.unsupported(format!("{field}.from"), NO_REGION, WRITE_ZONE);
                continue;
            }
            None => {
                report.reject(format!("{field}.from"), "it does not say from where", WRITE_ZONE);
                continue;
            }
        };
        let Some(to) = entry["to"].as_object().filter(|to| !to.is_empty()) else {
            report.reject(
                format!("{field}.to"),
                "it does not say to where",
                "write a map of region/zone/* to per cent",
            );
            continue;
        };
        let first = split.len();
        // What is named comes before what is left.
        let mut rest = None;
        for (target, percent) in to {
            let Some(percent) = percent.as_u64().filter(|percent| *percent <= 100) else {
                report.reject(format!("{field}.to"), format!("{percent} is no per cent"), "write 0 to 100");
                continue;
            };
            let part = |which| Part { from_zone: from.clone(), which, percent: percent as u32 };
            match place(target) {
                Place::Zone(zone) => split.push(part(Which::Zone(names.share(zone)))),
                Place::Everywhere => rest = Some(part(Which::Any)),
                Place::Other => {
                    report.unsupported(format!("{field}.to"), format!("{target:?}: {NO_REGION}"), WRITE_ZONE);
                    split.truncate(first);
                    rest = None;
                    break;
                }
            }
        }
        split.extend(rest);
    }
    split
}

/// A locality of Istio's: `region/zone/subzone`, with `*` for all.
enum Place<'a> {
    Everywhere,
    Zone(&'a str),
    Other,
}

fn place(written: &str) -> Place<'_> {
    let mut levels = written.split('/');
    match [levels.next(), levels.next(), levels.next(), levels.next()] {
        [Some("*"), None | Some("*"), None | Some("*"), None] => Place::Everywhere,
        [Some(_), Some(zone), None | Some("*"), None] if !matches!(zone, "" | "*") => Place::Zone(zone),
        _ => Place::Other,
    }
}
