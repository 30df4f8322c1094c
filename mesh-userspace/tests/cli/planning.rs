//! `mesh plan`: manifests against a running agent's maps, or against nothing.

use crate::agent::{Agent, mesh, stderr, stdout};
use insta::assert_snapshot;
use std::fs;
use tempfile::TempDir;

/// The cart of the canned agent with another backend and another limit, and a Service that is new.
const CHANGED: &str = "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.6]}]
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: limits, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  limits: {maxConnections: 20}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]}
";

/// Exactly what the canned agent's maps hold.
const SAME: &str = "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.5]}]
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: limits, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  limits: {maxConnections: 10}
";

fn manifests(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), text).unwrap();
    folder
}

#[test]
fn a_plan_says_what_is_added_changed_and_removed() {
    let agent = Agent::new();
    let folder = manifests(CHANGED);
    let plan = format!("plan --manifests {}", folder.path().display());
    let output = agent.mesh(&plan);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_snapshot!(stdout(&output), @r"
    ~ Service shop/cart will be changed
        ~ maxConnections 10 -> 20
        ~ 10.96.0.10:80/TCP
            - backend 10.244.1.5:8080
            + backend 10.244.1.6:8080
        with the present load, would refuse none of 4 connections

    + Service shop/web will be added
        + address 10.96.0.11
        + frontend 10.96.0.11:80/TCP
            + algorithm Random

    Plan: 1 to add, 1 to change, 0 to remove.
    Entries: FRONTENDS 1 -> 2, ADDRESSES 1 -> 2, SERVICES 1 -> 2, SLOTS 1 -> 1, BACKENDS 1 -> 1.
    ");
    assert_eq!(agent.mesh(&format!("{plan} --detailed-exitcode")).status.code(), Some(6));

    fs::write(folder.path().join("shop.yaml"), "").unwrap();
    assert_snapshot!(stdout(&agent.mesh(&plan)), @r"
    - Service shop/cart will be removed
        - address 10.96.0.10
        - maxConnections 10
        - frontend 10.96.0.10:80/TCP
            - algorithm Random
            - backend 10.244.1.5:8080

    Plan: 0 to add, 0 to change, 1 to remove.
    Entries: FRONTENDS 1 -> 0, ADDRESSES 1 -> 0, SERVICES 1 -> 0, SLOTS 1 -> 0, BACKENDS 1 -> 0.
    ");
}

#[test]
fn nothing_to_change_exits_with_0() {
    let folder = manifests(SAME);
    let output = Agent::new().mesh(&format!("plan --detailed-exitcode --manifests {}", folder.path().display()));
    assert_eq!((stdout(&output), output.status.code()), ("No changes: the maps are as the manifests say.\n", Some(0)));
}

#[test]
fn without_an_agent_everything_is_new_and_it_is_said() {
    let folder = manifests(SAME);
    let line = format!("plan --manifests {} --node-name n --socket /nonexistent", folder.path().display());
    let output = mesh(&line);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "No agent answers on /nonexistent: compared with nothing.\n");
    assert_snapshot!(stdout(&output), @r"
    + Service shop/cart will be added
        + address 10.96.0.10
        + maxConnections 10
        + frontend 10.96.0.10:80/TCP
            + algorithm Random
            + backend 10.244.1.5:8080

    Plan: 1 to add, 0 to change, 0 to remove.
    Entries: FRONTENDS 0 -> 1, ADDRESSES 0 -> 1, SERVICES 0 -> 1, SLOTS 0 -> 1, BACKENDS 0 -> 1.
    ");
    let plan: serde_json::Value = serde_json::from_str(stdout(&mesh(&format!("{line} -o json")))).unwrap();
    assert_eq!(
        (&plan["node"], &plan["agent"], &plan["changes"][0]["action"]),
        (&"n".into(), &false.into(), &"add".into())
    );
}

#[test]
fn unsound_manifests_are_named_and_exit_with_5() {
    let folder = manifests(&SAME.replace("port: 80}", "port: 70000}"));
    let output = mesh(&format!("plan --manifests {} --socket /nonexistent", folder.path().display()));
    assert_eq!(output.status.code(), Some(5));
    assert!(stdout(&output).contains("shop.yaml") && stdout(&output).contains("70000"), "{}", stdout(&output));
}

#[test]
fn a_rejected_service_goes_on_as_it_last_was() {
    let folder = manifests(&SAME.replace("port: 80}", "port: 70000}"));
    let output = Agent::new().mesh(&format!("plan --manifests {} -o json", folder.path().display()));
    let plan: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((&plan["changes"], output.status.code()), (&serde_json::json!([]), Some(5)));
}

#[test]
fn a_directory_that_is_not_there_is_a_failure() {
    let output = mesh("plan --manifests /nonexistent --socket /nonexistent");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("manifest directory /nonexistent"), "{}", stderr(&output));
}

#[test]
fn a_plan_has_node_ports_where_an_agent_with_the_same_option_has_them() {
    let text = SAME
        .replace("port: 80}", "port: 80, nodePort: 30080}")
        .replace("spec: {cluster", "spec: {type: NodePort, cluster");
    let folder = manifests(&text);
    let plan = |whose: &str| {
        let folder = folder.path().display();
        let output = mesh(&format!("plan --manifests {folder} --node-name n --socket /nonexistent {whose}"));
        (output.status.code(), stdout(&output).matches("30080").count())
    };
    for (whose, times) in
        [("", 1), ("--node-ports all-nodes", 1), ("--node-ports this-node", 1), ("--node-ports off", 0)]
    {
        assert_eq!(plan(whose), (Some(0), times), "{whose}");
    }
    assert_eq!(plan("--node-ports some").0, Some(2));
}
