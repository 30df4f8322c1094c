//! Fields that no version of Kubernetes knows: a `selecter` is likely a mistake, and nobody would say so.

use crate::object::Object;
use anyhow::Result;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The paths of an object's unknown fields; none for a kind that is not known here.
pub(super) fn fields(object: &Object) -> Result<Vec<String>> {
    match object.name.kind.as_str() {
        "DaemonSet" => of::<DaemonSet>(object),
        "Deployment" => of::<Deployment>(object),
        "EndpointSlice" => of::<EndpointSlice>(object),
        "Pod" => of::<Pod>(object),
        "ReplicaSet" => of::<ReplicaSet>(object),
        "Service" => of::<Service>(object),
        "StatefulSet" => of::<StatefulSet>(object),
        _ => Ok(Vec::new()),
    }
}

/// What is lost on the way through the type is unknown to it.
fn of<T: DeserializeOwned + Serialize>(object: &Object) -> Result<Vec<String>> {
    let mut lost = Vec::new();
    compare("", &object.value, &serde_json::to_value(object.typed::<T>()?)?, &mut lost);
    Ok(lost)
}

fn compare(path: &str, written: &Value, known: &Value, lost: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => compare(&path, value, known, lost),
                    // What is empty is often left out when it is written again.
                    None if is_empty(value) => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                compare(&format!("{path}[{index}]"), written, known, lost);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_named_and_known_ones_are_not() {
        let lost = |text: &str| fields(&Object::parse_all(text, "t").unwrap().remove(0)).unwrap();
        let service = "{apiVersion: v1, kind: Service, metadata: {name: web, creationTimestamp: null, labels: {a: b}},
            spec: {selecter: {app: web}, ports: [{port: 80, targetPort: http, tagetPort: 1}], sessionAffinityConfig: {}}, status: {}}";
        assert_eq!(lost(service), ["spec.ports[0].tagetPort", "spec.selecter"]);
        let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {any: thing}},
            spec: {replicas: 1, selector: {matchLabels: {app: web}}, strategy: {type: Recreate},
            template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web,
              resources: {limits: {cpu: 1, memory: 64Mi}}, env: [{name: A, value: b}],
              readinessProbe: {httpGet: {path: /, port: http}}, ports: [{name: http, containerPort: 80}]}],
              volumes: [{name: data, emptyDir: {}}]}}}}";
        assert_eq!(lost(deployment), Vec::<String>::new());
        assert_eq!(lost("{kind: ConfigMap, metadata: {name: c}, anything: 1}"), Vec::<String>::new());
    }
}
