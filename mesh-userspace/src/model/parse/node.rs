//! A Node.

use super::names::Names;
use super::report::Report;
use super::{Parsed, metadata};
use crate::model::{Finding, Kind, Node};
use k8s_openapi::api::core::v1 as core;

/// The taint with which the cluster autoscaler marks a node that it is about to delete.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

pub(super) fn parse(names: &mut Names, object: &core::Node) -> Result<Parsed<Node>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Node, &object.metadata)?;
    let zone = names.share_option(metadata::label(&object.metadata, "topology.kubernetes.io/zone"));
    let name = object_ref.name.clone();
    Report::new(object_ref).finish(Node { name, zone, deleting: is_deleting(object) })
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
