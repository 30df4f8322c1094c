//! Limits at backends in pods of a real kubelet and containerd, kept by the agent of the chart.

use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::cluster::{Cluster, Mesh, Options, PROGRAMS};
use mesh_tests::wait::wait_for;
use nix::libc::ECONNREFUSED;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// A namespace of its own would add nothing: there is nobody else.
const DEFAULT: &str = "default";

fn pod(name: &str, node: u8, port: u16) -> Value {
    let program = json!({"name": name, "image": PROGRAMS, "args": ["--name", name, format!("tcp/{port}")]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "nodeName": format!("node-{node}"), "containers": [program]}})
}

fn refused(client: &Client, to: SocketAddr) -> Result<()> {
    let error = client.connect(to).map(drop).err().context("it connects")?;
    ensure!(error.raw_os_error() == Some(ECONNREFUSED), "{error}");
    Ok(())
}

#[test]
fn a_limit_at_the_backend_counts_pods_of_both_nodes_and_goes_with_the_pod() -> Result<()> {
    let mesh = Some(Mesh::of_this_workspace()?);
    let cluster = Cluster::named("mesh-inbound", &Options { nodes: 2, kube_proxy: false, mesh })?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "tcp", "port": 80, "targetPort": 8080}]}});
    let policy = json!({"apiVersion": "mesh.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "web"},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "limits": {"maxInboundConnectionsPerBackend": 3}}});
    let objects = [pod("web", 1, 8080), pod("near", 1, 1), pod("far", 2, 1), service, policy];
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    cluster.wait_pods(DEFAULT)?;
    let (near, far) = (cluster.pod("near").client()?, cluster.pod("far").client()?);
    let frontend = cluster.kubectl().get(&["service", "web"])?["spec"]["clusterIP"].as_str().map(str::parse::<IpAddr>);
    let frontend = SocketAddr::new(frontend.context("an address")??, 80);
    for round in 0..2 {
        let backend = SocketAddr::new(cluster.pod("web").addresses()?[0], 8080);
        let in_force = || {
            let status = Mesh::ask(&cluster, cluster.node(1), &["status"])?;
            let backends = Mesh::ask(&cluster, cluster.node(1), &["backend", "list", "-n", DEFAULT])?;
            let there =
                backends.as_array().is_some_and(|all| all.iter().any(|b| b["address"] == backend.ip().to_string()));
            ensure!(there && status["inbound"]["inForce"] == 1, "{:#} {backends:#}", status["inbound"]);
            Ok::<_, anyhow::Error>(())
        };
        wait_for("the limit to be in force", in_force)?;
        let through = wait_for("the Service to lead there", || far.connect(frontend))?;
        let mut held = vec![through, far.connect(backend)?, near.connect(frontend)?];
        ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web")));
        for client in [&near, &far] {
            refused(client, frontend)?;
            refused(client, backend)?;
        }
        held.pop().context("one of three")?.close()?;
        wait_for("a slot to be free", || near.connect(backend).map(|connection| held.push(connection)))?;
        refused(&far, backend)?;
        if round == 0 {
            // With all that it holds; another pod of that name comes.
            cluster.kubectl().delete(&["pod", "web"])?;
            cluster.apply(&pod("web", 1, 8080).to_string())?;
            cluster.wait_pods(DEFAULT)?;
        }
    }
    let other = Mesh::ask(&cluster, cluster.node(2), &["status"])?;
    ensure!(other["inbound"]["inForce"] == 0 && other["inbound"]["missing"] == json!([]), "{other:#}");
    Ok(())
}
