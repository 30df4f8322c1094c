//! kube-proxy, in its nftables mode.

use super::super::addresses::POD_RANGES;
use super::super::settings::Settings;
use super::supervisor::Unit;
use super::write;
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// The program with its configuration, which is written.
pub fn unit(settings: &Settings, kubeconfig: &Path) -> Result<Unit> {
    let file = settings.folder.join("kube-proxy.yaml");
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 1000, "burst": 2000},
        "clusterCIDR": POD_RANGES.join(","),
        // The size of the table of connections is the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "hostnameOverride": settings.name,
    });
    write(&file, &configuration.to_string())?;
    Ok(Unit { program: "kube-proxy", arguments: vec!["--config".into(), file.into()] })
}
