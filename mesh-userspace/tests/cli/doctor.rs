//! `mesh doctor` against the real kernel, in a cgroup of the test's own. Needs root.

use crate::agent::{Agent, mesh, stdout};
use mesh_userspace::datapath::{self, Cgroup, Pins, Sizes};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cgroup and a directory of pins, taken away when dropped.
struct Place {
    cgroup: PathBuf,
    pins: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mesh-cli-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = Self {
            cgroup: datapath::find_cgroup().unwrap().join(&name),
            pins: PathBuf::from("/sys/fs/bpf").join(&name),
        };
        std::fs::create_dir(&place.cgroup).unwrap();
        place
    }

    fn arguments(&self) -> String {
        format!("doctor -o json --cgroup {} --pins {}", self.cgroup.display(), self.pins.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let unloaded = datapath::unload(&Pins::new(&self.pins));
        let removed = std::fs::remove_dir(&self.cgroup);
        if !std::thread::panicking() {
            unloaded.unwrap();
            // The doctor took its own cgroup away, or this one could not go.
            removed.unwrap();
        }
    }
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
    let output = mesh(&format!("{} --socket /nonexistent", place.arguments()));
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
    let output = Agent::new().mesh(&place.arguments());
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
    let (verdict, message) = programs(&place.arguments());
    assert_eq!(verdict, "ok", "{message}");

    let elsewhere = Place { cgroup: other.cgroup.clone(), pins: place.pins.clone() };
    let (verdict, message) = programs(&elsewhere.arguments());
    std::mem::forget(elsewhere); // `place` and `other` take away what is theirs
    assert!(verdict == "failed" && message.contains("connect4: it is attached to the cgroup with id"), "{message}");

    std::fs::remove_file(pins.link("connect6")).unwrap();
    assert_eq!(programs(&place.arguments()), ("failed".to_owned(), "connect6: it is not pinned".to_owned()));
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

/// `mesh agent`, killed when dropped.
struct Running(std::process::Child);

impl Running {
    fn start(place: &Place, folder: &std::path::Path) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"))
            .args(["agent", "--node-name", "node-1", "--manifests"])
            .arg(folder.join("manifests"))
            .arg("--cgroup")
            .arg(&place.cgroup)
            .arg("--pins")
            .arg(&place.pins)
            .arg("--socket")
            .arg(folder.join("mesh.sock"))
            .stderr(log)
            .spawn()
            .unwrap();
        let mut running = Self(child);
        let status = format!("status --socket {}", folder.join("mesh.sock").display());
        while mesh(&status).status.code() != Some(0) {
            if let Some(ended) = running.0.try_wait().unwrap() {
                panic!("the agent ended with {ended}: {}", std::fs::read_to_string(folder.join("log")).unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
            let output = mesh(&format!("{} --socket {}", place.arguments(), socket.display()));
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
