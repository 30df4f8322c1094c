//! A `TrafficPolicy`: our own kind, as it is written and as it is understood.

use super::names::Names;
use super::report::Report;
use super::{Parsed, metadata};
use crate::model::{Finding, Kind, Limits, Policy, ServiceKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesh_common::select::Algorithm;
use serde::Deserialize;

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

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The Services that it is attached to, in its own namespace.
    pub target_refs: Vec<TargetRef>,
    /// Limits on connections.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// How a backend is chosen.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
}

/// `spec.targetRefs[]`, as Gateway API policy attachment has it (GEP-2648).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The API group; empty for a Service.
    #[serde(default)]
    pub group: String,
    /// The kind; `Service`.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// `spec.limits`. Each holds on each node by itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Most connections at once to the Service, 0 or more.
    pub max_connections: Option<u64>,
    /// Most connections at once to each backend, 0 or more.
    pub max_connections_per_backend: Option<u64>,
}

/// `spec.loadBalancer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// `Random` or `RoundRobin`.
    pub algorithm: Option<String>,
}

pub(super) fn parse(names: &mut Names, object: &TrafficPolicyManifest) -> Result<Parsed<Policy>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::TrafficPolicy, &object.metadata)?;
    let (namespace, name) = (object_ref.namespace.clone(), object_ref.name.clone());
    let mut report = Report::new(object_ref);
    let spec = &object.spec;
    let mut targets = Vec::<ServiceKey>::with_capacity(spec.target_refs.len());
    if spec.target_refs.is_empty() {
        report.reject("spec.targetRefs", "it is attached to nothing", "name at least one Service");
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
    let algorithm = spec.load_balancer.algorithm.as_deref().and_then(|written| {
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == written);
        if known.is_none() {
            let all = Algorithm::ALL.map(Algorithm::name).join(" or ");
            let message = format!("{written:?} is no algorithm");
            report.reject("spec.loadBalancer.algorithm", message, format!("write {all}"));
        }
        known
    });
    let limits = Limits {
        max_connections: spec.limits.max_connections,
        max_connections_per_backend: spec.limits.max_connections_per_backend,
    };
    let created = metadata::created(&object.metadata);
    report.finish(Policy { namespace, name, targets, limits, algorithm, created })
}
