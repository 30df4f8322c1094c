//! A document into the objects that it holds.

use super::split::Document;
use crate::model::parse::{self, Parsed, Parser, TrafficPolicyManifest};
use crate::model::{Finding, Kind, Object, ObjectRef, Severity};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// `.yaml`, `.yml`.
    Yaml,
    /// `.json`.
    Json,
}

/// One object of a document.
#[derive(Debug)]
pub(super) enum Item {
    /// An object, and what of it is not served.
    Understood(Object, Vec<Finding>),
    /// An object that means nothing: which one it is, where that could be read, and why.
    Rejected(Option<ObjectRef>, Vec<Finding>),
    /// An object of a kind that mesh does not read.
    PassedOver(Arc<str>),
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
        items.push(read_object(parser, &api_version, &kind, value));
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

fn read_object(parser: &mut Parser, api_version: &str, kind: &str, value: Value) -> Item {
    if !value.is_object() {
        return rejected(None, "", "it is no object", "write apiVersion, kind, metadata and spec");
    }
    if kind.is_empty() || api_version.is_empty() {
        let field = if kind.is_empty() { "kind" } else { "apiVersion" };
        return rejected(None, field, "it is missing", "write apiVersion and kind, or move the file elsewhere");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (known, read_version) = match (group, kind) {
        ("", "Service") => (Kind::Service, "v1"),
        ("", "Node") => (Kind::Node, "v1"),
        ("discovery.k8s.io", "EndpointSlice") => (Kind::EndpointSlice, "v1"),
        ("mesh.dev", "TrafficPolicy") => (Kind::TrafficPolicy, "v1alpha1"),
        ("", _) => return Item::PassedOver(kind.into()),
        _ => return Item::PassedOver(format!("{kind}.{group}").into()),
    };
    let object = name(known, &value);
    if version != read_version {
        let action =
            format!("write {}{read_version}", if group.is_empty() { String::new() } else { format!("{group}/") });
        return rejected(object, "apiVersion", format!("{api_version} of {kind} is not read"), action);
    }
    match known {
        Kind::Service => typed(object, value, |typed: core::Service| {
            parser.service(&typed).map(|parsed| with(parsed, |object| Some(Object::Service(object))))
        }),
        Kind::EndpointSlice => typed(object, value, |typed: discovery::EndpointSlice| {
            parser.endpoint_slice(&typed).map(|parsed| with(parsed, |object| object.map(Object::EndpointSlice)))
        }),
        Kind::Node => typed(object, value, |typed: core::Node| {
            parser.node(&typed).map(|parsed| with(parsed, |object| Some(Object::Node(object))))
        }),
        Kind::TrafficPolicy => typed(object, value, |typed: TrafficPolicyManifest| {
            parser
                .traffic_policy(&typed.into())
                .map(|parsed| with(parsed, |object| Some(Object::TrafficPolicy(object))))
        }),
    }
}

fn with<T>(parsed: Parsed<T>, wrap: impl FnOnce(T) -> Option<Object>) -> Parsed<Option<Object>> {
    Parsed { object: wrap(parsed.object), findings: parsed.findings }
}

fn typed<T: DeserializeOwned>(
    object: Option<ObjectRef>,
    value: Value,
    parse: impl FnOnce(T) -> Result<Parsed<Option<Object>>, Vec<Finding>>,
) -> Item {
    match serde_path_to_error::deserialize(value) {
        Err(error) => {
            let field = error.path().to_string();
            let field = if field == "." { String::new() } else { field };
            rejected(
                object,
                field,
                error.inner().to_string(),
                "correct the field; until then its last valid form is in force",
            )
        }
        Ok(typed) => match parse(typed) {
            Ok(Parsed { object: Some(object), findings }) => Item::Understood(object, findings),
            Ok(Parsed { object: None, .. }) => Item::PassedOver("EndpointSlice.discovery.k8s.io of FQDNs".into()),
            Err(findings) => Item::Rejected(object, findings),
        },
    }
}

/// Which object this is, also where the rest of it cannot be understood.
fn name(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let metadata = value.get("metadata")?;
    parse::object_ref(kind, metadata.get("namespace").and_then(Value::as_str), metadata.get("name")?.as_str()?)
}

fn rejected(
    object: Option<ObjectRef>,
    field: impl Into<Arc<str>>,
    message: impl Into<Arc<str>>,
    action: impl Into<Arc<str>>,
) -> Item {
    let finding = Finding {
        severity: Severity::Rejected,
        origin: None,
        object: object.clone(),
        field: field.into(),
        message: message.into(),
        action: action.into(),
    };
    Item::Rejected(object, vec![finding])
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
