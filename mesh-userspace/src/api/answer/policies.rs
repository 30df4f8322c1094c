//! Policies of both kinds: what they ask for, and which Services follow them.

use super::{Facts, name};
use crate::api::query::Scope;
use crate::api::types::{Endings, Finding, Policy, PolicyDetail, PortPolicy};
use crate::maps::Maps;
use crate::model::{self, Kind, ObjectRef};
use crate::state::PolicyView;
use std::collections::BTreeMap;

impl<M: Maps> Facts<'_, M> {
    /// Every policy of a scope, those that mean nothing included.
    pub(super) fn policies(&self, scope: &Scope) -> Vec<Policy> {
        let all = self.policies_with_findings();
        let wanted = all.into_iter().filter(|(object, _)| scope.holds(&object.namespace));
        wanted.map(|(object, findings)| self.policy(&object, findings.len() as u64)).collect()
    }

    /// The policies of this name, one of each kind at most.
    pub(super) fn policy_details(&self, namespace: &str, name: &str) -> Vec<PolicyDetail> {
        let all = self.policies_with_findings();
        let wanted = all.into_iter().filter(|(object, _)| *object.namespace == *namespace && *object.name == *name);
        let detail = |(object, findings): (ObjectRef, Vec<model::Finding>)| {
            let ports = self.state.policy(&object).into_iter().flat_map(|view| &view.policy.ports);
            PolicyDetail {
                policy: self.policy(&object, findings.len() as u64),
                port_policies: ports.map(|(&port, of)| port_policy(port, of)).collect(),
                policy_findings: findings.iter().map(Finding::from).collect(),
            }
        };
        wanted.map(detail).collect()
    }

    fn policies_with_findings(&self) -> BTreeMap<ObjectRef, Vec<model::Finding>> {
        let mut all: BTreeMap<ObjectRef, Vec<model::Finding>> =
            self.state.policies().map(|view| (view.policy.object(), Vec::new())).collect();
        for finding in self.state.findings() {
            let object = finding.object.clone();
            if let Some(object) = object.filter(|o| matches!(o.kind, Kind::TrafficPolicy | Kind::DestinationRule)) {
                all.entry(object).or_default().push(finding);
            }
        }
        all
    }

    fn policy(&self, object: &ObjectRef, findings: u64) -> Policy {
        let view = self.state.policy(object);
        let policy = view.map(|view| view.policy);
        let services = view.map_or(&[][..], |view| view.attached);
        let in_force = services.iter().filter(|key| self.state.service_policy(key) == Some(object));
        let mut row = Policy {
            kind: object.kind.to_string(),
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
            file: view.and_then(|PolicyView { origin, .. }| Some(origin?.file.to_string())),
            wildcard: policy.and_then(|policy| Some(format!("*{}", policy.wildcard.as_ref()?.suffix))),
            services: services.iter().map(name).collect(),
            in_force: in_force.map(name).collect(),
            max_connections: policy.and_then(|policy| policy.limits.max_connections),
            max_connections_per_backend: policy.and_then(|policy| policy.limits.max_connections_per_backend),
            traffic: policy.map(|policy| (&policy.limits).into()).unwrap_or_default(),
            algorithm: policy.and_then(|policy| algorithm(policy.algorithm)),
            endings: policy.map(Into::into).unwrap_or_default(),
            findings,
        };
        row.services.sort();
        row.in_force.sort();
        row
    }
}

fn port_policy(port: u16, of: &model::PortPolicy) -> PortPolicy {
    let Endings { idle_timeout_seconds, max_duration_seconds, .. } = of.lifetime.into();
    PortPolicy { port, algorithm: algorithm(of.algorithm), idle_timeout_seconds, max_duration_seconds }
}

fn algorithm(algorithm: Option<mesh_common::select::Algorithm>) -> Option<String> {
    algorithm.map(|algorithm| algorithm.name().to_owned())
}
