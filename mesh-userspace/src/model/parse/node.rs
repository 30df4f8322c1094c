//! A Node.

use super::names::Names;
use super::report::Report;
use super::{Parsed, address, metadata};
use crate::model::{Finding, Kind, Level, Locality, Node};
use k8s_openapi::api::core::v1 as core;
use std::net::IpAddr;

/// The taint with which the cluster autoscaler marks a node that it is about to delete.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

pub(super) fn parse(names: &mut Names, object: &core::Node) -> Result<Parsed<Node>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Node, &object.metadata)?;
    let mut label = |level: Level| names.share_option(metadata::label(&object.metadata, level.label()));
    let locality = Locality { region: label(Level::Region), zone: label(Level::Zone), subzone: label(Level::Subzone) };
    let name = object_ref.name.clone();
    let mut report = Report::new(object_ref);
    let addresses = addresses(&mut report, object);
    report.finish(Node { name, locality, deleting: is_deleting(object), addresses })
}

/// As kube-proxy judges it (`GetNodeHostIPs`): internal addresses come before external ones. All are taken, not the first of
/// each family: one that clients cannot reach is not dialled.
fn addresses(report: &mut Report, object: &core::Node) -> Vec<IpAddr> {
    let listed = object.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let mut of_type = |kind: &str| {
        let mut found = Vec::new();
        for (i, item) in listed.iter().enumerate().filter(|(_, item)| item.type_ == kind) {
            match address::service(&item.address) {
                Ok(ip) if found.contains(&ip) => {}
                Ok(ip) => found.push(ip),
                // The status is the kubelet's: the rest of the Node goes on.
                Err(why) => report.unsupported(
                    format!("status.addresses[{i}].address"),
                    format!("{:?} {}", item.address, why.0),
                    "see what the kubelet wrote there; NodePorts are not served at it",
                ),
            }
        }
        found.shrink_to_fit();
        found
    };
    let internal = of_type("InternalIP");
    if internal.is_empty() { of_type("ExternalIP") } else { internal }
}

/// As kube-proxy judges it (KEP-3836): the object is being deleted, or is about to be.
fn is_deleting(object: &core::Node) -> bool {
    let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    object.metadata.deletion_timestamp.is_some() || taints.iter().any(|taint| taint.key == TO_BE_DELETED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: serde_json::Value) -> Node {
        let object = serde_json::from_value(json).unwrap();
        parse(&mut Names::default(), &object).unwrap().object
    }

    #[test]
    fn s12_internal_addresses_come_before_external_ones() {
        let with = |addresses: serde_json::Value| {
            node(serde_json::json!({"metadata": {"name": "a"}, "status": {"addresses": addresses}}))
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let internal = serde_json::json!([
            {"type": "Hostname", "address": "a"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "2001:db8::1"},
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "127.0.0.1"},
        ]);
        assert_eq!(with(internal), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(with(serde_json::json!([{"type": "ExternalIP", "address": "203.0.113.1"}])), ["203.0.113.1"]);
        assert!(with(serde_json::json!([])).is_empty());
    }

    #[test]
    fn s17_a_node_that_is_about_to_go_is_told_by_its_timestamp_or_its_taint() {
        let plain = serde_json::json!({"metadata": {"name": "a"}, "spec": {"taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        ]}});
        assert!(!node(plain).deleting);
        let gone = serde_json::json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(node(gone).deleting);
        let scaled_down = serde_json::json!({"metadata": {"name": "a"}, "spec": {"taints": [
            {"key": "ToBeDeletedByClusterAutoscaler", "value": "1767225600", "effect": "NoSchedule"},
        ]}});
        assert!(node(scaled_down).deleting);
    }
}
