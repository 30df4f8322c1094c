//! `metadata`, the same for every kind.

use super::DEFAULT_NAMESPACE;
use super::names::Names;
use crate::model::{Finding, Kind, ObjectRef, Severity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// The object's name, or the finding that it has none.
pub(super) fn named(names: &mut Names, kind: Kind, metadata: &ObjectMeta) -> Result<ObjectRef, Vec<Finding>> {
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(vec![nameless(kind)]);
    }
    let namespace = namespace_of(kind, metadata.namespace.as_deref());
    Ok(ObjectRef { kind, namespace: names.share(namespace), name: names.share(name) })
}

/// The object that `namespace` and `name` name, with the default namespace where the kind has one; `None` for an empty
/// name. For sources that name an object whose content they could not read.
pub fn object_ref(kind: Kind, namespace: Option<&str>, name: &str) -> Option<ObjectRef> {
    (!name.is_empty()).then(|| ObjectRef { kind, namespace: namespace_of(kind, namespace).into(), name: name.into() })
}

fn namespace_of(kind: Kind, namespace: Option<&str>) -> &str {
    match (kind, namespace) {
        (Kind::Node | Kind::Namespace, _) => "",
        (_, None | Some("")) => DEFAULT_NAMESPACE,
        (_, Some(namespace)) => namespace,
    }
}

fn nameless(kind: Kind) -> Finding {
    Finding {
        severity: Severity::Rejected,
        origin: None,
        object: None,
        field: "metadata.name".into(),
        message: format!("this {kind} has no name").into(),
        action: "give it a name".into(),
    }
}

/// `metadata.creationTimestamp` in a form that sorts by time; empty when absent.
pub(super) fn created(metadata: &ObjectMeta) -> Arc<str> {
    match &metadata.creation_timestamp {
        Some(time) => time.0.to_string().into(),
        None => Arc::default(),
    }
}

/// The value of a label.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}
