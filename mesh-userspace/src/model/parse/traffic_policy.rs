//! A `TrafficPolicy`: our own kind, as it is written and as it is understood.
//!
//! The types are the schema, too: [`crate::crd`] makes the `CustomResourceDefinition` of them. A doc comment is what
//! `kubectl explain` says.

use super::connections::{self, ConnectionsSpec};
use super::drain::{self, DrainSpec};
use super::limits::{self, LimitsSpec};
use super::load_balancer::{self, LoadBalancer};
use super::names::Names;
use super::outlier_detection::{self, OutlierDetectionSpec};
use super::report::Report;
use super::{Parsed, metadata};
use crate::crd::Status;
use crate::model::{Finding, Kind, Policy, ServiceKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most Services that one policy may be attached to: the API server bounds what its rules may cost.
const MOST_TARGETS: usize = 64;

/// A `TrafficPolicy` (`mesh.dev/v1alpha1`) as it is written. A field that it does not have is an error: a limit that is
/// misspelt must not read as no limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicyManifest {
    /// `mesh.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// `TrafficPolicy`.
    #[serde(default)]
    pub kind: String,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: Spec,
    /// Whatever a controller reported of it.
    #[serde(default)]
    pub status: serde::de::IgnoredAny,
}

/// What the owner of a Service asks for besides Kubernetes' own fields.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "mesh.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    shortname = "tp",
    category = "mesh",
    namespaced,
    status = "Status",
    doc = "Limits and load balancing for the Services that it is attached to, kept in the kernel of each node.",
    label("gateway.networking.k8s.io/policy", "Direct"),
    printcolumn = r#"{"name": "Services", "type": "string", "jsonPath": ".spec.targetRefs[*].name"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Accepted')].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Accepted')].reason"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Accepted')].message", "priority": 1}"#
)]
pub struct Spec {
    /// The Services that it is attached to, in its own namespace. Where two policies name one Service, the older wins.
    #[schemars(length(min = 1, max = MOST_TARGETS), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["group", "kind", "name"],
    ))]
    pub target_refs: Vec<TargetRef>,
    /// Limits on connections, each on each node by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// How a backend is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// When an endpoint that fails is ejected, and for how long: decided in the kernel of each node by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetectionSpec>,
    /// What becomes of open connections to an endpoint that is removed. A Service's annotation mesh.dev/drain comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainSpec>,
    /// How long open TCP connections may be idle, and how old they may get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionsSpec>,
}

/// A Service that a policy is attached to, as Gateway API policy attachment has it (GEP-2648).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The API group; empty for a Service.
    #[serde(default)]
    #[schemars(extend("enum" = [""]))]
    pub group: String,
    /// The kind.
    #[schemars(extend("enum" = ["Service"]))]
    pub kind: String,
    /// The name of a Service in the policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl From<TrafficPolicyManifest> for TrafficPolicy {
    fn from(manifest: TrafficPolicyManifest) -> Self {
        Self { metadata: manifest.metadata, spec: manifest.spec, status: None }
    }
}

pub(super) fn parse(names: &mut Names, object: &TrafficPolicy) -> Result<Parsed<Policy>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::TrafficPolicy, &object.metadata)?;
    let (namespace, name) = (object_ref.namespace.clone(), object_ref.name.clone());
    let mut report = Report::new(object_ref);
    let spec = &object.spec;
    let mut targets = Vec::<ServiceKey>::with_capacity(spec.target_refs.len());
    if spec.target_refs.is_empty() {
        report.reject("spec.targetRefs", "it is attached to nothing", "name at least one Service");
    }
    if spec.target_refs.len() > MOST_TARGETS {
        report.reject(
            "spec.targetRefs",
            format!("it names {} Services", spec.target_refs.len()),
            format!("name at most {MOST_TARGETS} in one policy"),
        );
    }
    for (i, target) in spec.target_refs.iter().enumerate() {
        if !target.group.is_empty() || target.kind != "Service" {
            let group = if target.group.is_empty() { "core" } else { &target.group };
            report.reject(
                format!("spec.targetRefs[{i}].kind"),
                format!("{:?} of group {group:?} cannot have a TrafficPolicy", target.kind),
                "write kind: Service with an empty group",
            );
        } else if target.name.is_empty() {
            report.reject(format!("spec.targetRefs[{i}].name"), "it is empty", "write the Service's name");
        } else if targets.iter().any(|other| *other.name == *target.name) {
            report.reject(
                format!("spec.targetRefs[{i}].name"),
                format!("{:?} is listed twice", target.name),
                "list each Service once",
            );
        } else {
            targets.push(ServiceKey { namespace: namespace.clone(), name: names.share(&target.name) });
        }
    }
    if let Some(nothing) = asks_for_nothing(spec) {
        report.reject(nothing, "it asks for nothing", "write what you want under it, or remove it");
    }
    let load_balancer = spec.load_balancer.clone().unwrap_or_default();
    let (algorithm, balance) = load_balancer::parse(names, &mut report, &load_balancer);
    let limits = limits::parse(&mut report, &spec.limits.clone().unwrap_or_default());
    let outlier = spec.outlier_detection.as_ref().map(|spec| outlier_detection::parse(&mut report, spec));
    let drain = spec.drain.as_ref().map(|spec| drain::parse(&mut report, spec)).unwrap_or_default();
    let lifetime = connections::parse(&mut report, &spec.connections.clone().unwrap_or_default());
    let created = metadata::created(&object.metadata);
    report.finish(Policy {
        kind: Kind::TrafficPolicy,
        namespace,
        name,
        targets,
        wildcard: None,
        limits,
        algorithm,
        balance,
        outlier,
        drain,
        lifetime,
        ports: BTreeMap::new(),
        created,
        generation: object.metadata.generation,
    })
}

/// The first object in which nothing is asked for, if any; the API server refuses the same ([`crate::crd`]).
fn asks_for_nothing(spec: &Spec) -> Option<String> {
    fn empty(path: &str, value: &Value) -> Option<String> {
        let fields = value.as_object()?;
        if fields.keys().all(|name| name == "targetRefs") {
            return Some(path.to_owned());
        }
        fields.iter().find_map(|(name, inner)| empty(&format!("{path}.{name}"), inner))
    }
    empty("spec", &serde_json::to_value(spec).ok()?)
}
