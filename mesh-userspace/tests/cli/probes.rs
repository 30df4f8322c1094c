//! What load balancers, the kubelet and Prometheus ask of a real agent over TCP. Needs root.

use crate::agent::mesh;
use crate::http::speak;
use crate::machine::{Place, Running};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: web, namespace: shop}
spec: {targetRefs: [{kind: Service, name: web}], limits: {maxConnections: 7}}
";

const NODE: &str = "\
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}
";

/// An address of this machine that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    speak(TcpStream::connect(address).unwrap(), path)
}

/// Asks until the answer is the wanted one.
fn wait(address: SocketAddr, path: &str, is_wanted: impl Fn(u16, &str) -> bool) -> String {
    for _ in 0..500 {
        let (code, body) = get(address, path);
        if is_wanted(code, &body) {
            return body;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{path} still says {:?}", get(address, path));
}

fn write(folder: &Path, name: &str, manifest: &str) {
    fs::write(folder.join("manifests").join(name), manifest).unwrap();
}

#[test]
fn s17_health_and_metrics_have_an_address_each_and_follow_the_cluster() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    fs::create_dir(folder.join("manifests")).unwrap();
    let (health, metrics) = (free(), free());
    let arguments = [format!("--health-address={health}"), format!("--metrics-address={metrics}")];
    let _agent = Running::start_with(&place, folder, &arguments);

    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!((get(health, path).0, get(metrics, path).0), (200, 404), "{path}");
    }
    assert_eq!((get(health, "/metrics").0, get(health, "/v1/status").0, get(metrics, "/v1/status").0), (404, 404, 404));

    write(folder, "web.yaml", SERVICE);
    let page = wait(metrics, "/metrics", |_, page| page.contains("mesh_change_duration_seconds_count 1\n"));
    for line in [
        "mesh_service_connections_limit{namespace=\"shop\",service=\"web\"} 7.0",
        "mesh_services{state=\"without-backends\"} 1.0",
        "mesh_ready 1.0",
        "mesh_node_eligible 1.0",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line}:\n{page}");
    }
    assert!(!page.contains("mesh_service_connections_admitted_total{"), "a Service that nobody dialled:\n{page}");

    write(folder, "node.yaml", NODE);
    let body = wait(health, "/healthz", |code, _| code == 503);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["nodeEligible"], false);
    assert_eq!((get(health, "/livez").0, get(health, "/readyz").0), (200, 200));
    fs::remove_file(folder.join("manifests/node.yaml")).unwrap();
    wait(health, "/healthz", |code, _| code == 200);
}

#[test]
fn a_scraper_that_does_not_read_holds_nobody_up() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    fs::create_dir(folder.join("manifests")).unwrap();
    let metrics = free();
    let _agent = Running::start_with(&place, folder, &[format!("--metrics-address={metrics}")]);
    let mut stuck = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(metrics).unwrap();
        // Thousands of questions, and no answer is read: the server's side of the connection fills.
        let question = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = std::io::Write::write_all(&mut stream, &question);
        stuck.push(stream);
    }
    write(folder, "web.yaml", SERVICE);
    wait(metrics, "/metrics", |code, page| code == 200 && page.contains("mesh_change_duration_seconds_count 1\n"));
}

#[test]
fn an_address_that_is_taken_is_said_to_be() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = mesh(&format!(
        "agent --node-name n --manifests {0} --cgroup {1} --pins {2} --socket {0}/s --health-address {3}",
        folder.path().display(),
        place.cgroup.display(),
        place.pins.display(),
        other.local_addr().unwrap(),
    ));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && complaint.contains("(--health-address); another program"),
        "{complaint}"
    );
}
