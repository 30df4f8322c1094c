//! A document into the objects that it holds.

use super::split::Document;
use crate::model::parse::Parser;
use crate::source::object::{self, Item, rejected};
use serde_json::Value;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// `.yaml`, `.yml`.
    Yaml,
    /// `.json`.
    Json,
}

/// Reads a document. A list gives its items; anything else gives one.
pub(super) fn read(parser: &mut Parser, format: Format, document: Document<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    match value(format, document) {
        Ok(value) => read_value(parser, value, &mut items),
        Err(message) => items.push(rejected(None, "", message, "correct the syntax")),
    }
    items
}

fn value(format: Format, document: Document<'_>) -> Result<Value, String> {
    match format {
        Format::Yaml => serde_saphyr::from_str_with_options(document.text, yaml_options())
            .map_err(|error: serde_saphyr::Error| yaml_message(&error, document)),
        Format::Json => serde_json::from_str(document.text).map_err(|error| {
            let line = document.line as usize + error.line().max(1) - 1;
            format!("line {line}: {error}")
        }),
    }
}

/// The parser's words with the file's line numbers: it is asked again, with the lines before the document left empty.
fn yaml_message(error: &serde_saphyr::Error, document: Document<'_>) -> String {
    let padded = "\n".repeat(document.line as usize - 1) + document.text;
    let again = serde_saphyr::from_str_with_options::<Value>(&padded, yaml_options()).err();
    let error = again.as_ref().unwrap_or(error);
    let words = error.without_snippet().to_string();
    match error.location() {
        Some(at) if !words.contains("line ") => format!("line {}: {words}", at.line()),
        _ => words,
    }
}

/// Manifests are the node's own, and may list every Service of a cluster in one document: only runaway nesting and
/// aliases are bounded.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 200_000_000,
            max_total_scalar_bytes: 1 << 32,
        },
        with_snippet: false,
    }
}

fn read_value(parser: &mut Parser, mut value: Value, items: &mut Vec<Item>) {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let listed = kind.strip_suffix("List").filter(|_| value.get("items").is_some_and(Value::is_array));
    let (Some(item_kind), Some(Value::Array(listed))) = (listed, value.get_mut("items").map(Value::take)) else {
        items.push(object::read(parser, &api_version, &kind, value));
        return;
    };
    for (position, mut item) in listed.into_iter().enumerate() {
        // The items of a typed list (`ServiceList`) need not repeat its kind.
        if let (Value::Object(fields), false) = (&mut item, item_kind.is_empty()) {
            fields.entry("kind").or_insert_with(|| item_kind.into());
            fields.entry("apiVersion").or_insert_with(|| api_version.clone().into());
        }
        let first = items.len();
        read_value(parser, item, items);
        for item in &mut items[first..] {
            if let Item::Rejected(None, findings) = item {
                for finding in findings {
                    let inner = &finding.field;
                    let dot = if inner.is_empty() { "" } else { "." };
                    finding.field = format!("items[{position}]{dot}{inner}").into();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
