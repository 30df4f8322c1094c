//! What the verbs say of a real agent, from the manifests to the maps and back.

use crate::agent::{mesh, stdout};
use crate::machine::{Place, Running};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const MANIFESTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.5]}, {addresses: [10.244.1.6], conditions: {ready: false}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
";

/// Exit code and JSON of one verb.
fn ask(folder: &Path, line: &str) -> (i32, Value) {
    let output = mesh(&format!("{line} -o json --socket {}", folder.join("mesh.sock").display()));
    (output.status.code().unwrap(), serde_json::from_str(stdout(&output)).unwrap_or_default())
}

/// Asks until the answer is the wanted one.
fn wait(folder: &Path, line: &str, is_wanted: impl Fn(i32, &Value) -> bool) -> Value {
    for _ in 0..500 {
        let (code, answer) = ask(folder, line);
        if is_wanted(code, &answer) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("mesh {line} still says {:#}", ask(folder, line).1);
}

#[test]
fn every_verb_tells_what_the_manifests_say_and_what_is_wrong_with_them() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let manifest = folder.join("manifests/shop.yaml");
    fs::create_dir(folder.join("manifests")).unwrap();
    fs::write(&manifest, MANIFESTS).unwrap();
    let _agent = Running::start(&place, folder);

    let (code, status) = ask(folder, "status");
    assert_eq!((code, &status["health"], &status["zone"]), (0, &"ok".into(), &"".into()), "{status:#}");
    assert_eq!(status["services"]["served"], 1);
    let source = &status["sources"][0];
    assert_eq!((&source["objects"]["Service"], &source["passedOver"]["Deployment.apps"]), (&1.into(), &1.into()));
    let slots = status["maps"].as_array().unwrap().iter().find(|map| map["name"] == "SLOTS").unwrap();
    assert_eq!(slots["used"], 1);

    let (_, backends) = ask(folder, "backend list");
    let verdicts: Vec<_> = backends.as_array().unwrap().iter().map(|b| (&b["address"], &b["state"])).collect();
    assert_eq!(verdicts, [(&"10.244.1.5".into(), &"eligible".into()), (&"10.244.1.6".into(), &"excluded".into())],);
    let (_, explanation) = ask(folder, "explain tcp 10.96.0.10:80");
    assert_eq!((&explanation["outcome"], &explanation["likely"]), (&"balanced".into(), &"10.244.1.5:8080".into()));

    let plan = format!("plan --detailed-exitcode --manifests {}", folder.join("manifests").display());
    assert_eq!(ask(folder, &plan).0, 0);
    fs::create_dir(folder.join("next")).unwrap();
    fs::write(folder.join("next/shop.yaml"), MANIFESTS.replace("10.244.1.5", "10.244.1.7")).unwrap();
    let next = format!("plan --detailed-exitcode --manifests {}", folder.join("next").display());
    let (code, changes) = ask(folder, &next);
    let fields: Vec<_> =
        changes["changes"][0]["differences"].as_array().unwrap().iter().map(|d| (&d["field"], &d["action"])).collect();
    assert_eq!(code, 6);
    assert_eq!(fields, [(&"backend".into(), &"remove".into()), (&"backend".into(), &"add".into())]);

    // A port that is none: named, and what the Service was goes on.
    fs::write(&manifest, MANIFESTS.replace("port: 80}", "port: 70000}")).unwrap();
    let status = wait(folder, "status", |code, _| code == 5);
    assert_eq!(status["health"], "degraded");
    assert_eq!(
        (&status["findings"][0]["severity"], &status["findings"][0]["object"]["name"]),
        (&"rejected".into(), &"web".into())
    );
    assert_eq!(ask(folder, "explain tcp 10.96.0.10:80").1["outcome"], "balanced");
    assert_eq!(ask(folder, "service show shop/web").1["findings"].as_array().unwrap().len(), 1);

    // Mended, with another backend.
    fs::write(&manifest, MANIFESTS.replace("10.244.1.5", "10.244.1.7")).unwrap();
    wait(folder, "status", |code, _| code == 0);
    wait(folder, "explain tcp 10.96.0.10:80", |_, explanation| explanation["likely"] == "10.244.1.7:8080");
    assert_eq!(ask(folder, &next).0, 0);

    // Gone: the address is nobody's any more.
    fs::remove_file(&manifest).unwrap();
    wait(folder, "explain tcp 10.96.0.10:80", |_, explanation| explanation["outcome"] == "untouched");
    assert_eq!(ask(folder, "service show shop/web").0, 4);
}

#[test]
fn a_second_agent_and_unload_are_refused_while_one_runs() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    let agent = Running::start(&place, folder.path());
    let second = mesh(&format!(
        "agent --node-name n --manifests {} --cgroup {} --pins {} --socket {}",
        folder.path().display(),
        place.cgroup.display(),
        place.pins.display(),
        folder.path().join("other.sock").display(),
    ));
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && complaint.contains("another agent runs on the pins"), "{complaint}");
    let unload = format!("unload --pins {}", place.pins.display());
    assert_eq!(mesh(&unload).status.code(), Some(1));
    drop(agent);
    assert!(stdout(&mesh(&unload)).starts_with("Took 1 data path away"));
    assert!(stdout(&mesh(&unload)).starts_with("There is no data path"));
}
