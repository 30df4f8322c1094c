//! The `CustomResourceDefinition` of a `TrafficPolicy`, made from the types that parse it.
//!
//! What the types cannot say is added here for all of them at once: an object in which nothing is asked for is refused.
//! The API server drops fields that it does not know, so `limits: {maxConnection: 5}` arrives as `limits: {}`, which would
//! read as no limit.

mod status;

pub use status::{ACCEPTED, Status};

use crate::model::parse::TrafficPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as api;
use kube::CustomResourceExt as _;
use mesh_common::select::{Algorithm, HashBy};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The first lines of the generated file.
const HEADER: &str = "# The API of mesh.dev/v1alpha1. Written by `mesh crd`; a test compares.\n";

/// The definition.
pub fn traffic_policies() -> api::CustomResourceDefinition {
    let mut crd = TrafficPolicy::crd();
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut()).into_iter().flatten();
        for (name, schema) in properties {
            tidy(schema);
            if name == "spec" {
                refuse_empty(name, schema);
            }
        }
    }
    crd
}

/// The definition as a file.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    Ok(HEADER.to_owned() + &serde_saphyr::to_string(&traffic_policies())?)
}

/// The names of the algorithms.
pub(crate) fn algorithms(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Algorithm::ALL.map(Algorithm::name) })
}

/// The names of what Maglev may hash.
pub(crate) fn hashes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": HashBy::ALL.map(HashBy::name) })
}

/// What a structural schema does not have, and what it calls otherwise.
fn tidy(schema: &mut api::JSONSchemaProps) {
    // `deny_unknown_fields`: the API server drops such fields by itself.
    schema.additional_properties = None;
    // A field that is null is as good as absent, and says less: nobody writes it.
    schema.nullable = None;
    let null_or_empty = |default: &api::JSON| default.0.is_null() || default.0.as_array().is_some_and(Vec::is_empty);
    schema.default.take_if(|default| null_or_empty(default));
    // Every number in JSON is a signed one there.
    if let Some(format @ ("uint8" | "uint16" | "uint32" | "uint64" | "uint")) = schema.format.as_deref() {
        let most = match format {
            "uint8" => Some(u32::from(u8::MAX)),
            "uint16" => Some(u32::from(u16::MAX)),
            "uint32" => Some(u32::MAX),
            _ => None,
        };
        schema.maximum = schema.maximum.or(most.map(f64::from));
        schema.format = Some("int64".to_owned());
    }
    schema.properties.iter_mut().flatten().for_each(|(_, inner)| tidy(inner));
    if let Some(api::JSONSchemaPropsOrArray::Schema(inner)) = &mut schema.items {
        tidy(inner);
    }
}

/// In each object with optional fields only, one must be there; in the spec, one besides those that are required.
fn refuse_empty(name: &str, schema: &mut api::JSONSchemaProps) {
    for (name, inner) in schema.properties.iter_mut().flatten() {
        refuse_empty(name, inner);
    }
    let required = schema.required.as_deref().unwrap_or_default();
    if name != "spec" && !required.is_empty() {
        return;
    }
    let optional: Vec<&str> = schema
        .properties
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .filter(|name| !required.iter().any(|other| other == name))
        .collect();
    if optional.is_empty() {
        return;
    }
    let rule = optional.iter().map(|name| format!("has(self.{name})")).collect::<Vec<_>>().join(" || ");
    schema.x_kubernetes_validations.get_or_insert_default().push(api::ValidationRule {
        rule,
        message: Some(format!(
            "{name} asks for nothing, or only by names that do not exist: write {}",
            optional.join(", or ")
        )),
        ..api::ValidationRule::default()
    });
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
