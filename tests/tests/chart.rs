//! The Helm chart: what it renders, what it refuses.

use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::{ApiServer, Components};
use mesh_tests::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The render that is committed for people without Helm.
const RENDERED: &str = "deploy/mesh.yaml";

/// What renders it.
const RENDER: &str =
    "template mesh deploy/chart/mesh --namespace mesh-system --include-crds --set namespace.create=true";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Runs the real helm in the workspace's root.
fn helm(line: &str) -> Result<Output> {
    let mut command = Command::new(Components::find()?.program("helm")?);
    command.args(line.split_whitespace()).current_dir(root());
    command.output().with_context(|| format!("run {command:?}"))
}

/// What helm writes, or why it does not.
fn rendered(line: &str) -> Result<String> {
    let output = helm(line)?;
    ensure!(output.status.success(), "helm {line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The DaemonSet that a line of values gives.
fn daemonset(values: &str) -> Result<Value> {
    let text = rendered(&format!("template mesh deploy/chart/mesh --show-only templates/daemonset.yaml {values}"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

#[test]
fn helm_finds_nothing_wrong() -> Result<()> {
    let said = rendered("lint --strict deploy/chart/mesh")?;
    ensure!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
    Ok(())
}

#[test]
fn the_committed_manifest_is_what_the_chart_renders() -> Result<()> {
    let path: PathBuf = root().join(RENDERED);
    let committed = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(committed == rendered(RENDER)?, "{RENDERED} is old: helm {RENDER} >{RENDERED}");
    Ok(())
}

#[test]
fn nonsense_is_refused_before_it_reaches_the_cluster() -> Result<()> {
    for (values, said) in [
        ("--set health.port=0", "/health/port"),
        ("--set metrics.port=70000", "/metrics/port"),
        ("--set metrics.address=localhost", "/metrics/address"),
        ("--set image.digest=sha256:12", "/image/digest"),
        ("--set image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("--set hostPaths.bpf=sys/fs/bpf", "/hostPaths/bpf"),
        ("--set maxUnavailable=0", "/maxUnavailable"),
        ("--set extraArguments={rm}", "/extraArguments"),
        ("--set proxyReplacment=true", "proxyReplacment"),
        ("--set proxyReplacement=perhaps", "/proxyReplacement"),
        ("--set proxyReplacement=true", "set apiServer.host"),
        ("--set metrics.podMonitor.enabled=true", "set metrics.address"),
    ] {
        let output = helm(&format!("template mesh deploy/chart/mesh {values}"))?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && complaint.contains(said), "{values}: {complaint}");
    }
    Ok(())
}

#[test]
fn in_kube_proxys_place_the_agent_needs_no_service_and_has_its_ports() -> Result<()> {
    let place = daemonset("--set proxyReplacement=true --set apiServer.host=192.0.2.10")?;
    let container = &place["spec"]["template"]["spec"]["containers"][0];
    let environment = container["env"].to_string();
    for wanted in
        ["\"KUBERNETES_SERVICE_HOST\",\"value\":\"192.0.2.10\"", "\"KUBERNETES_SERVICE_PORT\",\"value\":\"6443\""]
    {
        ensure!(environment.contains(wanted), "{environment}");
    }
    let arguments = container["args"].to_string();
    for wanted in ["--health-address=0.0.0.0:10256", "--metrics-address=127.0.0.1:10249"] {
        ensure!(arguments.contains(wanted), "{arguments}");
    }
    let beside = daemonset("")?["spec"]["template"]["spec"]["containers"][0].to_string();
    ensure!(beside.contains("0.0.0.0:10356") && beside.contains("127.0.0.1:10349"), "{beside}");
    ensure!(!beside.contains("KUBERNETES_SERVICE_HOST"), "{beside}");
    Ok(())
}

#[test]
fn the_pod_has_no_more_than_it_needs() -> Result<()> {
    for (values, capabilities, netns) in [
        ("", serde_json::json!(["NET_ADMIN", "SYS_ADMIN"]), true),
        ("--set endConnections=false", serde_json::json!(["BPF", "NET_ADMIN", "PERFMON"]), false),
    ] {
        let spec = daemonset(values)?["spec"]["template"]["spec"].clone();
        let context = &spec["containers"][0]["securityContext"];
        ensure!(context["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{context}");
        ensure!(context["capabilities"]["add"] == capabilities, "{context}");
        ensure!(context["readOnlyRootFilesystem"] == true && context["privileged"].is_null(), "{context}");
        ensure!(spec["hostPID"].is_null() && spec["hostIPC"].is_null() && spec["hostNetwork"] == true);
        ensure!(spec["volumes"].to_string().contains("netns") == netns, "{}", spec["volumes"]);
    }
    Ok(())
}

/// The committed manifest in a real API server, which refuses fields that it does not know.
fn installed(world: &World) -> Result<ApiServer> {
    let api = ApiServer::beside(world)?;
    let manifest = std::fs::read_to_string(root().join(RENDERED))?;
    api.kubectl().run_with(&["apply", "--server-side", "--validate=strict", "-f", "-"], &manifest)?;
    Ok(api)
}

#[test]
fn the_real_api_server_takes_every_object() -> Result<()> {
    let world = World::new()?;
    let api = installed(&world)?;
    for values in [
        "--set proxyReplacement=true --set apiServer.host=192.0.2.10",
        "--set endConnections=false --set metrics.enabled=false",
        "--set remove=true --set maxUnavailable=100%",
    ] {
        let other = rendered(&format!("template mesh deploy/chart/mesh --namespace mesh-system {values}"))?;
        let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        api.kubectl().run_with(&dry, &other).with_context(|| values.to_owned())?;
    }
    let policies = api.kubectl().get(&["crd", "trafficpolicies.mesh.dev"])?;
    ensure!(policies["spec"]["names"]["kind"] == "TrafficPolicy", "{policies}");
    Ok(())
}

#[test]
fn the_account_may_do_what_the_agent_does_and_nothing_else() -> Result<()> {
    let world = World::new()?;
    let api = installed(&world)?;
    let may = |line: &str| -> Result<bool> {
        let mut arguments = vec!["auth", "can-i", "--as=system:serviceaccount:mesh-system:mesh"];
        arguments.extend(line.split(' '));
        // It exits with 1 for "no".
        let output = api.kubectl().command(&arguments)?.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim() == "yes")
    };
    for line in [
        "list services -A",
        "watch endpointslices.discovery.k8s.io -A",
        "watch namespaces",
        "watch nodes",
        "list pods -A",
        "watch pods -A",
        "watch trafficpolicies.mesh.dev -A",
        // The report reads an object before it writes a condition on it.
        "get services -A",
        "patch services --subresource=status -A",
        "patch trafficpolicies.mesh.dev --subresource=status -A",
        "create events.events.k8s.io -A",
        "create leases.coordination.k8s.io -n mesh-system",
        "update leases.coordination.k8s.io/mesh-report -n mesh-system",
    ] {
        ensure!(may(line)?, "it may not {line}");
    }
    for line in [
        "get secrets -n mesh-system",
        "update services -A",
        "get pods -A",
        "get configmaps -n kube-system",
        "patch services -A",
        "delete services -A",
        "patch nodes",
        "update trafficpolicies.mesh.dev -A",
        "update leases.coordination.k8s.io/another -n mesh-system",
        "create leases.coordination.k8s.io -n kube-system",
        "create pods -n mesh-system",
    ] {
        ensure!(!may(line)?, "it may {line}");
    }
    Ok(())
}
