//! `docs/api.md` names every key and every path.

use crate::agent::{Agent, mesh, stdout};
use crate::answers;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/api.md");

#[test]
fn every_key_is_documented() {
    let mut keys = BTreeSet::new();
    collect(&answers::status(), &mut keys);
    collect(&answers::healthz(), &mut keys);
    collect(&answers::finding(), &mut keys);
    collect(&answers::waiting(), &mut keys);
    collect(&answers::detail(), &mut keys);
    collect(&answers::policies(), &mut keys);
    collect(&answers::connections(), &mut keys);
    collect(&answers::events(), &mut keys);
    collect(&answers::explanation(), &mut keys);
    collect(&answers::tables(), &mut keys);
    let folder = tempfile::tempdir().unwrap();
    let plan = Agent::new().mesh(&format!("plan -o json --manifests {}", folder.path().display()));
    let checks = mesh("doctor -o json --socket /nonexistent");
    for printed in [&plan, &checks] {
        collect(&serde_json::from_str::<Value>(stdout(printed)).unwrap(), &mut keys);
    }
    let missing: Vec<_> = keys.iter().filter(|key| !DOCUMENT.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/api.md lacks {missing:?}");
}

/// The keys of an answer; those of a map from names to counts are values, not keys.
fn collect<T: Serialize>(answer: &T, keys: &mut BTreeSet<String>) {
    fn walk(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    keys.insert(key.clone());
                    if !["objects", "passedOver", "refusals", "reasons", "packets", "ended"].contains(&key.as_str()) {
                        walk(value, keys);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, keys)),
            _ => {}
        }
    }
    walk(&serde_json::to_value(answer).unwrap(), keys);
}
