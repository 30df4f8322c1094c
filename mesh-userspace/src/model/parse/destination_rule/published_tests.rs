//! Rules that others have published, in a folder that `MESH_DESTINATION_RULES` names: each is read, and each of its fields is
//! honoured or reported. Without that folder the rules of this repository's own tests are taken.

use super::fields::{DESTINATION, Fate, PORT, RULE, TRAFFIC};
use super::*;
use std::path::Path;

const OURS: &str = "tests/destination-rules";

#[test]
fn every_field_of_published_rules_is_honoured_or_reported() {
    let folder = std::env::var_os("MESH_DESTINATION_RULES").unwrap_or_else(|| OURS.into());
    let rules = rules(Path::new(&folder));
    assert!(!rules.is_empty(), "no DestinationRule in {}", folder.display());
    let (mut read, mut rejected, mut fields, mut honoured) = (0, 0, 0, 0);
    for (file, rule) in &rules {
        let manifest: DestinationRuleManifest = serde_json::from_value(rule.clone()).unwrap();
        let findings = match parse(&mut Names::default(), &manifest) {
            Ok(parsed) => {
                read += 1;
                parsed.findings
            }
            Err(findings) => {
                rejected += 1;
                for finding in &findings {
                    println!("{file}: {finding}");
                }
                findings
            }
        };
        let mut paths = Vec::new();
        leaves("spec", &rule["spec"], &mut paths);
        for path in paths {
            fields += 1;
            let reported = findings.iter().any(|finding| path.starts_with(&*finding.field));
            honoured += usize::from(!reported);
            assert!(reported || is_honoured(&path), "{file}: {path} is neither honoured nor reported");
        }
        assert!(findings.iter().all(|finding| !finding.action.is_empty()), "{file}: {findings:?}");
    }
    println!(
        "{} rules: {read} read, {rejected} rejected; {fields} fields: {honoured} honoured, {} reported",
        rules.len(),
        fields - honoured
    );
    let ours = rules.iter().any(|(file, _)| file.starts_with(OURS));
    assert!(!ours || (read, rejected) == (rules.len(), 0), "ours are all understood");
}

fn is_honoured(path: &str) -> bool {
    let below = |part: &str, tables: &[&[fields::Field]]| {
        let Some(rest) = path.strip_prefix(part) else { return false };
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let known = |field: &&fields::Field| rest == field.path || rest.starts_with(&format!("{}[", field.path));
        let fate = tables.iter().flat_map(|table| *table).find(known).map(|field| field.fate);
        matches!(fate, Some(Fate::Honoured(_) | Fate::Values(_) | Fate::Object))
    };
    let of_a_port = path
        .split_once("portLevelSettings[")
        .and_then(|(before, rest)| Some(format!("{before}portLevelSettings[{}]", rest.split_once(']')?.0)));
    match of_a_port {
        Some(settings) => below(&settings, &[PORT, TRAFFIC]),
        None => below("spec", &[RULE]) || below("spec.trafficPolicy", &[TRAFFIC, DESTINATION]),
    }
}

fn leaves(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, inner)| leaves(&format!("{path}.{name}"), inner, paths));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(i, inner)| leaves(&format!("{path}[{i}]"), inner, paths));
        }
        _ => paths.push(path.to_owned()),
    }
}

fn rules(folder: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rules(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let documents = text.split("\n---").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
            let rules = documents.filter(|document| document["kind"] == "DestinationRule");
            found.extend(rules.map(|rule| (path.display().to_string(), rule)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
