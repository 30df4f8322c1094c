//! Pods on two nodes, served by kube-proxy: the clients and servers of the tests, asked through Services.

use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::{Cluster, DNS, Options, PROGRAMS, machine, pods};
use mesh_tests::wait::wait_for;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};

/// A namespace with a Deployment of servers, one on each node, a Service of both families, and a client.
fn application(cluster: &Cluster, namespace: &str) -> Result<()> {
    let server = json!({"name": "echo", "image": PROGRAMS, "args": ["--name", "$(POD)", "tcp/8080", "udp/8080"],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}});
    let apart = json!({"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}});
    let pod = json!({"terminationGracePeriodSeconds": 1, "containers": [server],
        "topologySpreadConstraints": [apart]});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack", "ports": [
                {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": namespace},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "client", "image": PROGRAMS, "args": ["--name", "client", "tcp/1"]}]}}),
    ];
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
    cluster.wait_rollout(namespace, "deployment/web")?;
    cluster.wait_pods(namespace)
}

#[test]
fn nodes_are_ready_with_both_families_and_a_zone_each() -> Result<()> {
    let cluster = Cluster::shared(&Options::default())?;
    for (number, node) in (1..).zip(cluster.nodes()) {
        let object = cluster.kubectl().get(&["node", node.name()])?;
        assert_eq!(object["metadata"]["labels"]["topology.kubernetes.io/zone"], format!("zone-{number}"));
        let addresses = object["status"]["addresses"].as_array().context("a node has addresses")?;
        for address in machine(number) {
            assert!(addresses.iter().any(|one| one["address"] == address.to_string()), "{addresses:?}");
        }
        assert_eq!(node.enter(&["hostname"])?.trim(), node.name());
    }
    Ok(())
}

#[test]
fn a_service_reaches_pods_on_both_nodes_in_both_families() -> Result<()> {
    let cluster = Cluster::shared(&Options::default())?;
    application(&cluster, "both")?;
    let service = cluster.kubectl().get(&["service", "web", "--namespace", "both"])?;
    let addresses = service["spec"]["clusterIPs"].as_array().context("addresses")?;
    assert_eq!(addresses.len(), 2);
    let client = cluster.pod_in("both", "client").client()?;
    for address in addresses {
        let frontend = SocketAddr::new(address.as_str().context("text")?.parse::<IpAddr>()?, 80);
        for udp in [false, true] {
            wait_for(&format!("both servers to answer at {frontend}, udp: {udp}"), || {
                let tally = if udp { client.tally_udp(frontend, 20) } else { client.tally(frontend, 20) }?;
                ensure!(tally.answers.len() == 2 && tally.failed() == 0, "{tally:?}");
                Ok(())
            })?;
        }
    }
    let place = cluster.pod_in("both", "client").addresses()?;
    assert_eq!(place.len(), 2, "{place:?}");
    let range = pods(1)[0].trim_end_matches("0/24").to_owned();
    let other = pods(2)[0].trim_end_matches("0/24").to_owned();
    assert!([range, other].iter().any(|range| place[0].to_string().starts_with(range.as_str())), "{place:?}");
    Ok(())
}

#[test]
fn dns_knows_services_and_exec_says_what_a_program_said() -> Result<()> {
    let cluster = Cluster::shared(&Options::default())?;
    application(&cluster, "names")?;
    let pod = cluster.pod_in("names", "client");
    let service = cluster.kubectl().get(&["service", "web", "--namespace", "names"])?;
    let address = service["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    wait_for("the name to be known", || {
        let said = pod.exec(&["/mesh-client", "resolve", "web.names.svc.cluster.local"])?;
        ensure!(said.lines().any(|line| line == address), "{said} where {address} was expected; DNS is {DNS}");
        Ok(())
    })?;
    let error = pod.exec(&["/mesh-client", "resolve", "nobody.names.svc.cluster.local"]).unwrap_err();
    assert!(format!("{error:#}").contains("nobody"), "{error:#}");
    Ok(())
}
