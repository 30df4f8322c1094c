//! The shop's manifests, made to run: images that are here, servers that say who they are, and what every application needs
//! whose pods come and go.

use crate::shop;
use anyhow::{Context, Result};
use mesh_tests::cluster::PROGRAMS;
use serde_json::{Value, json};

/// The namespace of all its objects.
pub const NAMESPACE: &str = "shop";

/// Its objects, the namespace first.
pub fn objects() -> Result<Vec<Value>> {
    let mut objects = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})];
    for object in shop::objects()? {
        let mut value = object.value;
        if value["kind"] == "Deployment" {
            run(&mut value).with_context(|| object.name.to_string())?;
        }
        objects.push(value);
    }
    Ok(objects)
}

/// Two pods for the clients, one on each node.
pub fn clients() -> [Value; 2] {
    [1, 2].map(|number| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("client-{number}"), "namespace": NAMESPACE},
            "spec": {
                "nodeName": format!("node-{number}"), "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "client", "image": PROGRAMS, "args": ["--name", "client", "tcp/1"]}],
            },
        })
    })
}

fn run(deployment: &mut Value) -> Result<()> {
    // New pods before old ones go: none is without.
    deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}});
    let pod = &mut deployment["spec"]["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(4);
    for container in pod["containers"].as_array_mut().context("no containers")? {
        let mut arguments = vec!["--name".to_owned(), "$(POD)".to_owned()];
        let ports = container["ports"].as_array().context("no ports")?;
        let ready =
            ports.iter().find(|port| port["protocol"] != "UDP").context("no TCP port")?["containerPort"].clone();
        for port in ports {
            let protocol = if port["protocol"] == "UDP" { "udp" } else { "tcp" };
            arguments.push(format!("{protocol}/{}", port["containerPort"]));
        }
        container["image"] = PROGRAMS.into();
        container["args"] = arguments.into();
        container["env"] = json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        container["readinessProbe"] = json!({"tcpSocket": {"port": ready}, "periodSeconds": 1});
        container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 3}}});
    }
    Ok(())
}
