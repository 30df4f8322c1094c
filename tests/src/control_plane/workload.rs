//! What asks for pods: a Deployment, or another kind with a pod template.

use crate::echo::{Listen, Transport};
use crate::object::{Object, ObjectName};
use anyhow::Result;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerPort, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// A Deployment, `StatefulSet`, `ReplicaSet`, `DaemonSet` (one pod: there is one node), or a Pod by itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Workload {
    /// The object.
    pub name: ObjectName,
    /// How many pods it wants.
    pub replicas: usize,
    /// Its pods' labels.
    pub labels: BTreeMap<String, String>,
    /// The ports of all containers of a pod.
    pub ports: Vec<Port>,
    /// `hostNetwork`.
    pub host_network: bool,
}

/// A port of a container.
#[derive(Clone, PartialEq, Debug)]
pub struct Port {
    /// Its name, for `targetPort: NAME`.
    pub name: Option<String>,
    /// What is listened on.
    pub listen: Listen,
}

impl Workload {
    /// The workload that an object is; `None` for an object of another kind.
    pub fn parse(object: &Object) -> Result<Option<Self>> {
        let (replicas, template) = match object.name.kind.as_str() {
            "Deployment" => {
                let spec = object.typed::<Deployment>()?.spec;
                (spec.replicas, spec.template)
            }
            "StatefulSet" => {
                let spec = object.typed::<StatefulSet>()?.spec;
                (spec.replicas, spec.template)
            }
            "ReplicaSet" => {
                let spec = object.typed::<ReplicaSet>()?.spec;
                (spec.replicas, spec.template.unwrap_or_default())
            }
            "DaemonSet" => (Some(1), object.typed::<DaemonSet>()?.spec.template),
            "Pod" => {
                let Pod { metadata, spec, .. } = object.typed()?;
                (Some(1), PodTemplateSpec { metadata: Some(metadata), spec })
            }
            _ => return Ok(None),
        };
        let replicas = replicas.unwrap_or(1);
        let replicas = usize::try_from(replicas).map_err(|_| object.wrong("spec.replicas", "is negative"))?;
        let PodTemplateSpec { metadata, spec } = template;
        let ObjectMeta { labels, .. } = metadata.unwrap_or_default();
        let PodSpec { containers, host_network, .. } = spec.unwrap_or_default();
        if containers.is_empty() {
            let field = if object.name.kind == "Pod" { "spec.containers" } else { "spec.template.spec.containers" };
            return Err(object.wrong(field, "is empty; a pod has at least one container"));
        }
        let mut ports = Vec::new();
        for port in containers.into_iter().flat_map(|container| container.ports.unwrap_or_default()) {
            ports.extend(Port::parse(object, port)?);
        }
        Ok(Some(Self {
            name: object.name.clone(),
            replicas,
            labels: labels.unwrap_or_default(),
            ports,
            host_network: host_network.unwrap_or_default(),
        }))
    }
}

impl Port {
    fn parse(object: &Object, port: ContainerPort) -> Result<Option<Self>> {
        const FIELD: &str = "containers.ports.containerPort";
        let number = u16::try_from(port.container_port)
            .ok()
            .filter(|&number| number > 0)
            .ok_or_else(|| object.wrong(FIELD, &format!("{} is no port; use 1 to 65535", port.container_port)))?;
        // SCTP and the like: the echo server does not speak it, and the agent reports it on the Service.
        let transport = transport(port.protocol.as_deref());
        Ok(transport.map(|transport| Self { name: port.name, listen: Listen { transport, port: number } }))
    }
}

/// A protocol as Kubernetes writes it, TCP when it does not; `None` for one that nobody here speaks.
pub(super) fn transport(protocol: Option<&str>) -> Option<Transport> {
    match protocol.unwrap_or("TCP") {
        "TCP" => Some(Transport::Tcp),
        "UDP" => Some(Transport::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Workload>> {
        Workload::parse(&Object::parse_all(text, "app.yaml").unwrap().remove(0))
    }

    #[test]
    fn a_deployment_gives_replicas_labels_and_ports() {
        let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns, tier: base}}
    spec:
      containers:
      - {name: dns, image: dns, ports: [{name: dns, containerPort: 53, protocol: UDP}, {containerPort: 9000}]}
      - {name: metrics, image: metrics, ports: [{containerPort: 9100}, {containerPort: 1, protocol: SCTP}]}";
        let workload = parse(text).unwrap().unwrap();
        assert_eq!((workload.replicas, workload.labels["tier"].as_str(), workload.host_network), (2, "base", false));
        let listens: Vec<_> = workload.ports.iter().map(|port| port.listen.to_string()).collect();
        assert_eq!(listens, ["udp/53", "tcp/9000", "tcp/9100"]);
        assert_eq!(workload.ports[0].name.as_deref(), Some("dns"));
    }

    #[test]
    fn what_is_wrong_is_named_and_what_is_no_workload_is_not_one() {
        let pod = |port: i64| {
            format!(
                "kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, ports: [{{containerPort: {port}}}]}}]}}"
            )
        };
        assert!(parse(&pod(80)).unwrap().is_some());
        let error = parse(&pod(70000)).unwrap_err().to_string();
        assert_eq!(
            error,
            "app.yaml: document 1: Pod default/p: `containers.ports.containerPort`: 70000 is no port; use 1 to 65535"
        );
        assert_eq!(parse("kind: ConfigMap\nmetadata: {name: c}").unwrap(), None);
    }
}
