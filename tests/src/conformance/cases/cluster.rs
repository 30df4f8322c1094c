//! What must go on in a cluster: names, the API server's own Service, probes, exec, rolling updates; 8, 17 and 32.

use super::endpoints::{of, tcp};
use crate::cluster::machine;
use crate::conformance::pods::{PORT, echo};
use crate::conformance::{Bed, Case};
use crate::conformance::{look, proxy};
use crate::echo::Transport;
use crate::manifest::{service, slice};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            8,
            "`publishNotReadyAddresses`: pods that are not ready answer; without it they do not",
            "`client-1` connects with it; without it",
            unready,
            |bed| {
                let client = bed.client("client-1")?;
                let published = look::tcp(&client, bed.service("published", 80)?, "unready")?;
                let hidden = look::refused(&client, Transport::Tcp, bed.service("hidden", 80)?)?;
                Ok(format!("{published}; {hidden}"))
            },
        ),
        Case::new(
            17,
            "the node's proxy says that it is well, at port 10256 of the node",
            "`client-1` asks its node for `/healthz`; for `/livez`; the other node for `/healthz`",
            |_| Vec::new(),
            |bed| {
                let client = bed.client("client-1")?;
                let ask = |node, path| -> Result<String> {
                    let to = (machine(node)[0], proxy::HEALTH);
                    look::settle("200", || {
                        Ok(client.get(to, path).map_or_else(|error| look::told(Err(error)), |status| status.to_string()))
                    })
                };
                Ok([ask(1, "/healthz")?, ask(1, "/livez")?, ask(2, "/healthz")?].join("; "))
            },
        ),
        Case::new(
            21,
            "the API server's own Service answers",
            "`client-1`, `client-3` and `host-2` connect to `kubernetes.default`",
            |_| Vec::new(),
            |bed| {
                let to = bed.service("kubernetes", 443)?;
                let mut seen = Vec::new();
                for pod in ["client-1", "client-3", "host-2"] {
                    let client = bed.client(pod)?;
                    seen.push(look::settle("connected", || {
                        Ok(look::told(client.connect(to).map(|_| "connected".to_owned())))
                    })?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            22,
            "CoreDNS, started anew, reads the API through `kubernetes.default` and answers pods through its Service",
            "CoreDNS is restarted; `client-1` looks `kubernetes.default` up; `client-3` does",
            |_| Vec::new(),
            names,
        )
        .alone(),
        Case::new(
            21,
            "probes of every kind reach pods, and exec runs in them",
            "a pod has an exec startup probe, a TCP liveness probe and an HTTP readiness probe; `kubectl exec` asks it for help; \
             has it make a socket and reads its answer to the end",
            |_| Vec::new(),
            probed,
        ),
        Case::new(
            2,
            "a rolling update under load, with readiness and a preStop pause, fails no request",
            "`client-1` and `client-3` connect and ask without pause while a Deployment of 3 is replaced",
            deployment,
            rolled,
        )
        .alone(),
        Case::new(
            32,
            "a pod that another mesh serves is left alone, by label",
            "`client-2` connects; it gets the label `mesh.dev/data-plane: none`; the label goes",
            |bed| of("anothers", |slice| bed.ready(slice, &["near-1"])),
            left_alone,
        )
        .alone()
        .better("the label is mesh's own: the other mesh sees the address that the pod dials"),
        Case::new(
            28,
            "the proxy's process is killed: old connections go on and new ones are balanced; started again, the same",
            "the proxy is killed on both nodes: an old connection of `client-1`, new ones; the proxy starts: the old one, new ones; \
             an endpoint goes: new ones",
            |bed| of("unattended", |slice| bed.ready(slice, &["near-1", "far-1"])),
            unattended,
        )
        .alone(),
    ]
}

fn unattended(bed: &Bed) -> Result<String> {
    let (name, all) = ("unattended", "far-1, near-1");
    tcp(bed, "client-1", name, all)?;
    let to = bed.service(name, 80)?;
    let client = bed.client("client-1")?;
    let held = client.connect(to)?;
    let server = held.server()?;
    let same = || Ok::<_, anyhow::Error>(if held.server()? == server { "the same" } else { "another" });
    let mut seen = Vec::new();
    bed.kill_proxy()?;
    seen.push(format!("{}, {}", same()?, look::answers(&client, Transport::Tcp, to)?));
    bed.restart_proxy()?;
    // Through its first sync, and while it is at it.
    for _ in 0..10 {
        look::answers(&client, Transport::Tcp, to)?;
    }
    seen.push(format!("{}, {}", same()?, look::answers(&client, Transport::Tcp, to)?));
    bed.apply(&[bed.ready(slice(name).tcp(PORT), &["far-1"]).value()])?;
    seen.push(tcp(bed, "client-1", name, "far-1")?);
    Ok(seen.join("; "))
}

fn unready(_: &Bed) -> Vec<Value> {
    let mut container = echo("unready", &[format!("tcp/{PORT}")]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "unready", "namespace": "default", "labels": {"app": "unready"}},
        "spec": {"nodeName": "node-2", "terminationGracePeriodSeconds": 0, "containers": [container]},
    });
    let of = |name| service(name).tcp(80, PORT).spec("selector", json!({"app": "unready"}));
    vec![pod, of("published").spec("publishNotReadyAddresses", true).value(), of("hidden").value()]
}

fn left_alone(bed: &Bed) -> Result<String> {
    let before = tcp(bed, "client-2", "anothers", "near-1")?;
    let to = bed.service("anothers", 80)?;
    bed.kubectl(&["label", "pod", "client-2", "mesh.dev/data-plane=none"])?;
    let left = look::settle("nobody answers", || {
        // One at a time: what is silent costs the client's patience, and the label takes effect between two connections.
        let seen = bed.client("client-2")?.tally(to, 1)?;
        // Whether what nobody serves is lost or refused is up to the network behind.
        Ok(seen.answers.into_keys().next().unwrap_or_else(|| "nobody answers".to_owned()))
    });
    bed.kubectl(&["label", "pod", "client-2", "mesh.dev/data-plane-"])?;
    Ok(format!("{before}; {}; {}", left?, tcp(bed, "client-2", "anothers", "near-1")?))
}

fn names(bed: &Bed) -> Result<String> {
    bed.kubectl(&["-n", "kube-system", "rollout", "restart", "deployment/coredns"])?;
    bed.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s"])?;
    let expected = bed.service("kubernetes", 443)?.ip();
    let mut seen = Vec::new();
    for pod in ["client-1", "client-3"] {
        let client = bed.client(pod)?;
        seen.push(look::settle("its address", || {
            let found = client.resolve("kubernetes.default").map_err(|error| look::told(Err(error)));
            Ok(match found {
                Ok(found) if found == [expected] => "its address".to_owned(),
                Ok(found) => format!("{found:?}"),
                Err(error) => error,
            })
        })?);
    }
    Ok(seen.join("; "))
}

/// What a client program is told in one line.
const UDP_SOCKET: &str = "{\"Udp\":{\"ipv6\":false}}\n";

fn probed(bed: &Bed) -> Result<String> {
    bed.kubectl(&["delete", "pod", "probed", "--ignore-not-found", "--wait"])?;
    let mut container = echo("probed", &[format!("tcp/{PORT}")]);
    container["startupProbe"] = json!({"exec": {"command": ["/mesh-client", "--help"]}, "periodSeconds": 1});
    container["livenessProbe"] = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1});
    bed.apply(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed", "namespace": "default"},
        "spec": {"nodeName": "node-2", "terminationGracePeriodSeconds": 0, "containers": [container]},
    })])?;
    bed.kubectl(&["wait", "pod", "probed", "--for=condition=Ready", "--timeout=60s"])?;
    let restarts = &bed.get(&["pod", "probed"])?["status"]["containerStatuses"][0]["restartCount"];
    let help = bed.kubectl(&["exec", "probed", "--", "/mesh-client", "--help"])?;
    ensure!(help.contains("obey"), "{help}");
    let obeyed = bed.kubectl_with(&["exec", "--stdin", "probed", "--", "/mesh-client", "obey"], UDP_SOCKET)?;
    ensure!(obeyed.contains("Socket"), "{obeyed}");
    Ok(format!("ready, {restarts} restarts; it helps; it obeys"))
}

fn deployment(_: &Bed) -> Vec<Value> {
    let mut container = echo("rolled", &[format!("tcp/{PORT}")]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1});
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 5}}});
    let labels = json!({"app": "rolled"});
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled", "namespace": "default"},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": labels},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 3}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 6, "containers": [container]},
                },
            },
        }),
        service("rolled").tcp(80, PORT).spec("selector", labels.clone()).value(),
    ]
}

/// Connects and asks from two pods until the last old pod is gone.
fn rolled(bed: &Bed) -> Result<String> {
    bed.kubectl(&["rollout", "status", "deployment/rolled", "--timeout=60s"])?;
    let to = bed.service("rolled", 80)?;
    let clients = [bed.client("client-1")?, bed.client("client-3")?];
    for client in &clients {
        look::tcp(client, to, "rolled")?;
    }
    let before = pods(bed)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let askers = clients.each_ref().map(|client| {
            scope.spawn(|| {
                let mut all = crate::client::Tally::default();
                while !over.load(Ordering::Relaxed) {
                    all.add(&client.tally(to, 20)?);
                }
                Ok::<_, std::io::Error>(all)
            })
        });
        let replaced = replace(bed, &before);
        over.store(true, Ordering::Relaxed);
        let mut failed = 0;
        for asker in askers {
            let tally = asker.join().ok().context("an asker panicked")??;
            println!("rolling update: {} answers, {:?}", tally.answered(), tally.errors);
            failed += tally.failed();
        }
        replaced?;
        Ok(format!("{failed} failed"))
    })
}

fn replace(bed: &Bed, before: &[String]) -> Result<()> {
    bed.kubectl(&["rollout", "restart", "deployment/rolled"])?;
    bed.kubectl(&["rollout", "status", "deployment/rolled", "--timeout=60s"])?;
    let gone: Vec<_> = before.iter().map(|name| format!("pod/{name}")).collect();
    let arguments: Vec<&str> =
        ["wait", "--for=delete", "--timeout=60s"].into_iter().chain(gone.iter().map(String::as_str)).collect();
    bed.kubectl(&arguments).map(drop)
}

fn pods(bed: &Bed) -> Result<Vec<String>> {
    let list = bed.get(&["pods", "-l", "app=rolled"])?;
    let names = list["items"].as_array().context("no list")?.iter().map(|pod| &pod["metadata"]["name"]);
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}
