//! One Kubernetes object, typed or as JSON, into what it means: the same for every source.

use crate::model::parse::{self, DestinationRuleManifest, Parsed, Parser, TrafficPolicyManifest};
use crate::model::{Finding, Kind, Object, ObjectRef, Severity};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// One object.
#[derive(Debug)]
pub(super) enum Item {
    /// An object, and what of it is not served.
    Understood(Object, Vec<Finding>),
    /// An object that means nothing: which one it is, where that could be read, and why.
    Rejected(Option<ObjectRef>, Vec<Finding>),
    /// An object of a kind that mesh does not read.
    PassedOver(Arc<str>),
}

/// Understands an object by its `apiVersion` and `kind`.
pub(super) fn read(parser: &mut Parser, api_version: &str, kind: &str, value: Value) -> Item {
    if !value.is_object() {
        return rejected(None, "", "it is no object", "write apiVersion, kind, metadata and spec");
    }
    if kind.is_empty() || api_version.is_empty() {
        let field = if kind.is_empty() { "kind" } else { "apiVersion" };
        return rejected(None, field, "it is missing", "write apiVersion and kind, or move the file elsewhere");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (known, versions): (Kind, &[&str]) = match (group, kind) {
        ("", "Service") => (Kind::Service, &["v1"]),
        ("", "Node") => (Kind::Node, &["v1"]),
        ("", "Namespace") => (Kind::Namespace, &["v1"]),
        ("", "Pod") => (Kind::Pod, &["v1"]),
        ("discovery.k8s.io", "EndpointSlice") => (Kind::EndpointSlice, &["v1"]),
        ("mesh.dev", "TrafficPolicy") => (Kind::TrafficPolicy, &["v1alpha1"]),
        ("networking.istio.io", "DestinationRule") => (Kind::DestinationRule, &["v1", "v1beta1", "v1alpha3"]),
        ("", _) => return Item::PassedOver(kind.into()),
        _ => return Item::PassedOver(format!("{kind}.{group}").into()),
    };
    let object = name(known, &value);
    if !versions.contains(&version) {
        let action =
            format!("write {}{}", if group.is_empty() { String::new() } else { format!("{group}/") }, versions[0]);
        return rejected(object, "apiVersion", format!("{api_version} of {kind} is not read"), action);
    }
    match known {
        Kind::Service => typed(object, value, |typed| service(parser, &typed)),
        Kind::EndpointSlice => typed(object, value, |typed| endpoint_slice(parser, &typed)),
        Kind::Node => typed(object, value, |typed| node(parser, &typed)),
        Kind::Namespace => typed(object, value, |typed: core::Namespace| namespace(parser, &typed.metadata)),
        Kind::Pod => typed(object, value, |typed| pod(parser, &typed)),
        Kind::TrafficPolicy => typed(object.clone(), value, |typed: TrafficPolicyManifest| {
            item(
                object,
                parser
                    .traffic_policy(&typed.into())
                    .map(|parsed| with(parsed, |policy| Object::Policy(Box::new(policy)))),
            )
        }),
        Kind::DestinationRule => typed(object.clone(), value, |typed: DestinationRuleManifest| {
            item(
                object,
                parser.destination_rule(&typed).map(|parsed| with(parsed, |policy| Object::Policy(Box::new(policy)))),
            )
        }),
    }
}

/// Understands a Service.
pub(super) fn service(parser: &mut Parser, object: &core::Service) -> Item {
    let name = object_ref(Kind::Service, &object.metadata);
    item(name, parser.service(object).map(|parsed| with(parsed, Object::Service)))
}

/// Understands an `EndpointSlice`.
pub(super) fn endpoint_slice(parser: &mut Parser, object: &discovery::EndpointSlice) -> Item {
    let name = object_ref(Kind::EndpointSlice, &object.metadata);
    match parser.endpoint_slice(object) {
        Ok(Parsed { object: Some(slice), findings }) => Item::Understood(Object::EndpointSlice(slice), findings),
        Ok(Parsed { object: None, .. }) => Item::PassedOver("EndpointSlice.discovery.k8s.io of FQDNs".into()),
        Err(findings) => Item::Rejected(name, findings),
    }
}

/// Understands a Node.
pub(super) fn node(parser: &mut Parser, object: &core::Node) -> Item {
    let name = object_ref(Kind::Node, &object.metadata);
    item(name, parser.node(object).map(|parsed| with(parsed, Object::Node)))
}

/// Understands a Namespace by its metadata.
pub(super) fn namespace(parser: &mut Parser, metadata: &ObjectMeta) -> Item {
    let name = object_ref(Kind::Namespace, metadata);
    item(name, parser.namespace(metadata).map(|parsed| with(parsed, Object::Namespace)))
}

/// Understands a Pod.
pub(super) fn pod(parser: &mut Parser, object: &core::Pod) -> Item {
    let name = object_ref(Kind::Pod, &object.metadata);
    item(name, parser.pod(object).map(|parsed| with(parsed, Object::Pod)))
}

/// An object that means nothing, for one reason.
pub(super) fn rejected(
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

fn item(object: Option<ObjectRef>, parsed: Result<Parsed<Object>, Vec<Finding>>) -> Item {
    match parsed {
        Ok(Parsed { object, findings }) => Item::Understood(object, findings),
        Err(findings) => Item::Rejected(object, findings),
    }
}

fn with<T>(parsed: Parsed<T>, wrap: impl FnOnce(T) -> Object) -> Parsed<Object> {
    Parsed { object: wrap(parsed.object), findings: parsed.findings }
}

fn object_ref(kind: Kind, metadata: &ObjectMeta) -> Option<ObjectRef> {
    parse::object_ref(kind, metadata.namespace.as_deref(), metadata.name.as_deref()?)
}

fn typed<T: DeserializeOwned>(object: Option<ObjectRef>, value: Value, parse: impl FnOnce(T) -> Item) -> Item {
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
        Ok(typed) => parse(typed),
    }
}

/// Which object this is, also where the rest of it cannot be understood.
fn name(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let metadata = value.get("metadata")?;
    parse::object_ref(kind, metadata.get("namespace").and_then(Value::as_str), metadata.get("name")?.as_str()?)
}
