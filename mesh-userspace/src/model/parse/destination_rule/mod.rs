//! Istio's `DestinationRule`, as far as it can be kept without a proxy.
//!
//! [`fields`] says of each field what becomes of it, `walk` reports by that, `host` finds the Services, `balance` reads how
//! connections are shared out. What is left is read here.

mod balance;
pub mod fields;
mod host;
mod lifetime;
mod locality;
mod outlier;
mod walk;

use super::names::Names;
use super::report::Report;
use super::{Parsed, metadata};
use crate::model::{Balance, Drain, Finding, Kind, Lifetime, Limits, Policy, PortPolicy, ServiceKey, Wildcard};
use host::Host;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A `DestinationRule` as it is written. Its fields are looked at one by one, so that each can be reported.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRuleManifest {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: Value,
}

pub(super) fn parse(names: &mut Names, object: &DestinationRuleManifest) -> Result<Parsed<Policy>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::DestinationRule, &object.metadata)?;
    let (namespace, name) = (object_ref.namespace.clone(), object_ref.name.clone());
    let mut report = Report::new(object_ref);
    let spec = &object.spec;
    walk::rule(&mut report, spec);
    let traffic = &spec["trafficPolicy"];
    let limits = Limits { max_connections: max_connections(&mut report, traffic), ..Limits::default() };
    let (algorithm, balance) = balance::read(names, &mut report, "spec.trafficPolicy", traffic);
    let outlier = outlier::outlier_detection(&mut report, traffic);
    let lifetime = lifetime::read(&mut report, "spec.trafficPolicy", traffic);
    let ports = ports(names, &mut report, traffic);
    let (mut targets, mut wildcard) = targets(&mut report, spec, &namespace);
    let shares_out = algorithm.is_some() || balance != Balance::default();
    let ends = lifetime != Lifetime::default();
    let asks = limits != Limits::default() || shares_out || outlier.is_some() || ends || !ports.is_empty();
    if !(asks && is_for_all(&mut report, spec)) {
        // It takes nothing from a policy that asks for something.
        (targets, wildcard) = (Vec::new(), None);
    }
    report.finish(Policy {
        kind: Kind::DestinationRule,
        namespace,
        name,
        targets,
        wildcard,
        limits,
        algorithm,
        balance,
        outlier,
        drain: Drain::default(),
        lifetime,
        ports,
        created: metadata::created(&object.metadata),
        generation: object.metadata.generation,
    })
}

fn targets(report: &mut Report, spec: &Value, namespace: &str) -> (Vec<ServiceKey>, Option<Wildcard>) {
    let Some(host) = spec["host"].as_str().filter(|host| !host.is_empty()) else {
        report.reject("spec.host", "it names no host", "write the name of a Service");
        return (Vec::new(), None);
    };
    match host::resolve(host, namespace) {
        Host::Service(service) => (vec![service], None),
        Host::Wildcard(wildcard) => (Vec::new(), Some(wildcard)),
        Host::Nothing(why, action) => {
            report.unsupported("spec.host", format!("{host:?}: {why}"), action);
            (Vec::new(), None)
        }
    }
}

/// Whether the rule is for every client: one that is for some of them only must not bind the others.
fn is_for_all(report: &mut Report, spec: &Value) -> bool {
    let exported: Vec<&str> = spec["exportTo"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let to_all = exported.is_empty() || exported.contains(&"*");
    if !to_all {
        report.unsupported(
            "spec.exportTo",
            "what a Service's clients meet does not depend on their namespace",
            "write \"*\", or leave it out; until then the rule is not in force",
        );
    }
    to_all && spec["workloadSelector"].is_null()
}

fn max_connections(report: &mut Report, traffic: &Value) -> Option<u64> {
    let written = &traffic["connectionPool"]["tcp"]["maxConnections"];
    let limit = written.as_u64().filter(|&limit| i32::try_from(limit).is_ok());
    if limit.is_none() && !written.is_null() {
        report.reject(
            "spec.trafficPolicy.connectionPool.tcp.maxConnections",
            format!("{written} is no number of connections"),
            format!("write 0 to {}", i32::MAX),
        );
    }
    limit.filter(|&limit| limit > 0)
}

fn ports(names: &mut Names, report: &mut Report, traffic: &Value) -> BTreeMap<u16, PortPolicy> {
    let mut ports = BTreeMap::new();
    for (i, settings) in traffic["portLevelSettings"].as_array().into_iter().flatten().enumerate() {
        let written = &settings["port"]["number"];
        let number = written.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|&number| number > 0);
        let base = format!("spec.trafficPolicy.portLevelSettings[{i}]");
        let Some(number) = number else {
            report.reject(format!("{base}.port.number"), format!("{written} is no port"), "write 1 to 65535");
            continue;
        };
        let (algorithm, balance) = balance::read(names, report, &base, settings);
        // New backends are new for all ports.
        let balance = Balance { slow_start: None, ..balance };
        let lifetime = lifetime::read(report, &base, settings);
        // The first of a port, as in Istio.
        ports.entry(number).or_insert(PortPolicy { algorithm, balance, lifetime });
    }
    ports
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "page_tests.rs"]
mod page_tests;

#[cfg(test)]
#[path = "published_tests.rs"]
mod published_tests;
