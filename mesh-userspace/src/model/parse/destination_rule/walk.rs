//! Each field that a rule writes, reported as the table of fields says.

use super::fields::{DESTINATION, Fate, Field, PORT, RULE, TRAFFIC};
use crate::model::parse::report::Report;
use serde_json::Value;

/// Reports all of `spec`.
pub fn rule(report: &mut Report, spec: &Value) {
    Walk { report, tables: &[RULE] }.object("spec", "", spec);
    let traffic = &spec["trafficPolicy"];
    Walk { report, tables: &[TRAFFIC, DESTINATION] }.object("spec.trafficPolicy", "", traffic);
    for (i, port) in traffic["portLevelSettings"].as_array().into_iter().flatten().enumerate() {
        let base = format!("spec.trafficPolicy.portLevelSettings[{i}]");
        Walk { report, tables: &[PORT, TRAFFIC] }.object(&base, "", port);
    }
}

/// One part of the rule, by its tables; the first that has a field says what becomes of it.
struct Walk<'a> {
    report: &'a mut Report,
    tables: &'a [&'a [Field]],
}

impl Walk<'_> {
    fn object(&mut self, base: &str, path: &str, value: &Value) {
        let Some(fields) = value.as_object() else {
            if !value.is_null() {
                self.report.reject(join(base, path), "it is no object", "write its fields under it");
            }
            return;
        };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let path = join(path, name);
            let fate =
                self.tables.iter().flat_map(|table| *table).find(|field| field.path == path).map(|field| field.fate);
            match fate {
                // Another table's: `rule` goes on with it.
                Some(Fate::Object) if path == "trafficPolicy" => {}
                Some(Fate::Object) => self.object(base, &path, value),
                Some(fate) => self.report_fate(&join(base, &path), fate, value),
                None => self.unknown(&join(base, &path), name),
            }
        }
    }

    fn report_fate(&mut self, field: &str, fate: Fate, value: &Value) {
        match fate {
            Fate::Object | Fate::Honoured(_) => {}
            Fate::Unsupported(why, action) => self.report.unsupported(field, why, action),
            Fate::Values(values) => {
                if let Some((_, fate)) = values.iter().find(|(name, _)| value.as_str() == Some(name)) {
                    return self.report_fate(field, *fate, value);
                }
                let all: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
                let action = format!("write {}", all.join(", or "));
                self.report.reject(field, format!("{value} is none of its values"), action);
            }
        }
    }

    /// A field that Istio does not have here; people mostly mean one that it has elsewhere.
    fn unknown(&mut self, field: &str, name: &str) {
        let leaf = |path: &str| path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
        let known = TRAFFIC.iter().chain(DESTINATION).map(|field| ("spec.trafficPolicy", field.path));
        let known = known.chain(RULE.iter().map(|field| ("spec", field.path)));
        let meant = known.into_iter().find(|(_, path)| leaf(path) == name.to_ascii_lowercase());
        let action = match meant {
            Some((part, path)) => format!("write {part}.{path}"),
            None => "remove it, or correct its name".to_owned(),
        };
        self.report.unsupported(field, "a DestinationRule has no such field here: it says nothing", action);
    }
}

fn join(base: &str, name: &str) -> String {
    match (base, name) {
        (base, "") => base.to_owned(),
        ("", name) => name.to_owned(),
        (base, name) => format!("{base}.{name}"),
    }
}
