//! Pods and Namespaces: who serves their connections.

use super::names::Names;
use super::report::Report;
use super::{Parsed, metadata};
use crate::model::{Finding, Kind, Namespace, Pod};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::net::IpAddr;

/// The label of pods, namespaces and Services: `none` leaves them alone, `mesh` serves them.
pub(super) const DATA_PLANE: &str = "mesh.dev/data-plane";

pub(super) fn parse(names: &mut Names, object: &core::Pod) -> Result<Parsed<Pod>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Pod, &object.metadata)?;
    let (namespace, name) = (object_ref.namespace.clone(), object_ref.name.clone());
    let mut report = Report::new(object_ref);
    let said = data_plane(&mut report, &object.metadata);
    // The uid of a static pod's object is not the one that the kubelet runs it by.
    let hash = annotation(&object.metadata, "kubernetes.io/config.hash");
    let is_mirror = annotation(&object.metadata, "kubernetes.io/config.mirror").is_some();
    let cgroup = hash.filter(|_| is_mirror).or(object.metadata.uid.as_deref());
    let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
    let pod = Pod {
        namespace,
        name,
        node: names.share_option(object.spec.as_ref().and_then(|spec| spec.node_name.as_deref())),
        cgroup: cgroup.unwrap_or_default().into(),
        addresses: addresses(object),
        left_alone: said.or_else(|| is_anothers(&object.metadata).then_some(true)),
        ended: matches!(phase, Some("Succeeded" | "Failed")),
    };
    report.finish(pod)
}

fn addresses(object: &core::Pod) -> Vec<IpAddr> {
    let listed = object.status.as_ref().and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|item| item.ip.parse().ok()).collect()
}

pub(super) fn namespace(names: &mut Names, metadata: &ObjectMeta) -> Result<Parsed<Namespace>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Namespace, metadata)?;
    let name = object_ref.name.clone();
    let mut report = Report::new(object_ref);
    let left_alone = data_plane(&mut report, metadata).unwrap_or_default();
    report.finish(Namespace { name, left_alone })
}

/// What the label says: whether the object is left alone.
pub(super) fn data_plane(report: &mut Report, metadata: &ObjectMeta) -> Option<bool> {
    match metadata::label(metadata, DATA_PLANE)? {
        "none" => Some(true),
        "mesh" => Some(false),
        other => {
            report.unsupported(
                format!("metadata.labels[{DATA_PLANE}]"),
                format!("{other:?} is no data plane"),
                "write none to have it left alone, or mesh, or remove the label",
            );
            None
        }
    }
}

/// Whether another mesh has taken the pod's connections: what Istio's and Linkerd's injectors and Istio's ambient mode put
/// on a pod when they do, not what somebody asks of them.
fn is_anothers(metadata: &ObjectMeta) -> bool {
    metadata::label(metadata, "security.istio.io/tlsMode") == Some("istio")
        || metadata::label(metadata, "linkerd.io/control-plane-ns").is_some()
        || annotation(metadata, "ambient.istio.io/redirection") == Some("enabled")
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(metadata: &serde_json::Value) -> Pod {
        let object = serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap();
        parse(&mut Names::default(), &object).unwrap().object
    }

    #[test]
    fn s32_a_pod_is_left_alone_by_our_label_or_when_another_mesh_has_taken_it() {
        let with = |labels: &serde_json::Value, annotations: &serde_json::Value| {
            pod(&serde_json::json!({"name": "a", "labels": labels, "annotations": annotations})).left_alone
        };
        let none = serde_json::json!({});
        for (labels, expected) in [
            (serde_json::json!({}), None),
            (serde_json::json!({DATA_PLANE: "none"}), Some(true)),
            (serde_json::json!({DATA_PLANE: "mesh"}), Some(false)),
            (serde_json::json!({DATA_PLANE: "moon"}), None),
            (serde_json::json!({"security.istio.io/tlsMode": "istio"}), Some(true)),
            (serde_json::json!({"security.istio.io/tlsMode": "istio", DATA_PLANE: "mesh"}), Some(false)),
            (serde_json::json!({"linkerd.io/control-plane-ns": "linkerd"}), Some(true)),
            (serde_json::json!({"sidecar.istio.io/inject": "true"}), None),
        ] {
            assert_eq!(with(&labels, &none), expected, "{labels}");
        }
        assert_eq!(with(&none, &serde_json::json!({"ambient.istio.io/redirection": "enabled"})), Some(true));
        assert_eq!(with(&none, &serde_json::json!({"linkerd.io/inject": "enabled"})), None);
    }

    #[test]
    fn a_static_pods_cgroup_is_named_after_its_manifest() {
        let uid = serde_json::json!({"name": "a", "uid": "u-1", "annotations": {"kubernetes.io/config.hash": "h"}});
        assert_eq!(&*pod(&uid).cgroup, "u-1");
        let annotations = serde_json::json!({"kubernetes.io/config.hash": "h", "kubernetes.io/config.mirror": "h"});
        let mirror = serde_json::json!({"name": "a", "uid": "u-1", "annotations": annotations});
        assert_eq!(&*pod(&mirror).cgroup, "h");
    }
}
