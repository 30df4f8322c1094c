//! `mesh doctor` against the real kernel, in a cgroup of the test's own. Needs root.

use crate::agent::{Agent, mesh, stdout};
use crate::machine::{Place, Running};
use mesh_userspace::datapath::{self, Cgroup, Pins, Sizes};

fn arguments(place: &Place) -> String {
    format!("doctor -o json --cgroup {} --pins {}", place.cgroup.display(), place.pins.display())
}

/// Verdict and message of one check.
fn check<'a>(checks: &'a serde_json::Value, name: &str) -> (&'a str, &'a str) {
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == name).unwrap();
    (check["verdict"].as_str().unwrap(), check["message"].as_str().unwrap())
}

fn examine(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_str(stdout(output)).unwrap()
}

#[test]
fn a_machine_without_mesh_is_told_to_start_an_agent() {
    let place = Place::new();
    let output = mesh(&format!("{} --socket /nonexistent", arguments(&place)));
    let checks = examine(&output);
    assert_eq!(output.status.code(), Some(0), "{checks:#}");
    for name in ["kernel-version", "capabilities", "cgroup2"] {
        assert_eq!(check(&checks, name).0, "ok", "{checks:#}");
    }
    for name in ["agent", "programs", "coverage"] {
        assert_eq!(check(&checks, name).0, "warning", "{checks:#}");
    }
}

#[test]
fn a_connection_that_no_program_sees_is_found_out() {
    let place = Place::new();
    let output = Agent::new().mesh(&arguments(&place));
    let checks = examine(&output);
    assert_eq!(output.status.code(), Some(5), "{checks:#}");
    assert_eq!(check(&checks, "programs"), ("failed", &*format!("no data path is pinned in {}", place.pins.display())));
    let (verdict, message) = check(&checks, "coverage");
    assert!(verdict == "failed" && message.contains("was not balanced"), "{message}");
}

#[test]
fn programs_in_force_are_told_from_those_of_another_cgroup_and_from_those_that_are_missing() {
    let (place, other) = (Place::new(), Place::new());
    let pins = Pins::new(&place.pins);
    let loaded = datapath::load(&pins, &Sizes::default()).unwrap();
    datapath::attach(&loaded, &Cgroup::open(&place.cgroup).unwrap()).unwrap();

    let programs = |arguments: &str| {
        let checks = examine(&mesh(&format!("{arguments} --socket /nonexistent")));
        let (verdict, message) = check(&checks, "programs");
        (verdict.to_owned(), message.to_owned())
    };
    let (verdict, message) = programs(&arguments(&place));
    assert_eq!(verdict, "ok", "{message}");

    let elsewhere = Place { cgroup: other.cgroup.clone(), pins: place.pins.clone() };
    let (verdict, message) = programs(&arguments(&elsewhere));
    std::mem::forget(elsewhere); // `place` and `other` take away what is theirs
    assert!(verdict == "failed" && message.contains("connect4: it is attached to the cgroup with id"), "{message}");

    std::fs::remove_file(pins.link("connect6")).unwrap();
    assert_eq!(programs(&arguments(&place)), ("failed".to_owned(), "connect6: it is not pinned".to_owned()));
}

/// A Service with a backend.
const MANIFESTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIPs: [CLUSTER-IP], clusterIP: CLUSTER-IP, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: FAMILY
ports: [{port: 8080}]
endpoints: [{addresses: [BACKEND]}]
";

#[test]
fn coverage_is_proved_over_both_families_and_outlives_the_agent() {
    for (family, cluster_ip, backend) in
        [("IPv4", "10.96.0.10", "10.244.1.5"), ("IPv6", "'fd00:96::a'", "'fd00:244::5'")]
    {
        let place = Place::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        let text = MANIFESTS.replace("CLUSTER-IP", cluster_ip).replace("FAMILY", family).replace("BACKEND", backend);
        std::fs::write(folder.path().join("manifests/shop.yaml"), text).unwrap();
        let agent = Running::start(&place, folder.path());

        let examine = || {
            let socket = folder.path().join("mesh.sock");
            let output = mesh(&format!("{} --socket {}", arguments(&place), socket.display()));
            (output.status.code(), examine(&output))
        };
        let (code, checks) = examine();
        assert_eq!(code, Some(0), "{checks:#}");
        for name in ["agent", "programs", "coverage"] {
            assert_eq!(check(&checks, name).0, "ok", "{family}: {checks:#}");
        }
        let (_, message) = check(&checks, "coverage");
        assert!(message.contains("(shop/web)") && message.contains(":8080"), "{message}");

        drop(agent);
        let (_, checks) = examine();
        assert_eq!((check(&checks, "agent").0, check(&checks, "programs").0), ("warning", "ok"), "{checks:#}");
    }
}
