//! The kubelet: pods of this node, as the API server has them.

use super::super::addresses::DNS;
use super::super::settings::Settings;
use super::containerd;
use super::supervisor::Unit;
use super::write;
use anyhow::Result;
use serde_json::json;

/// The program with its configuration, which is written.
pub fn unit(settings: &Settings) -> Result<Unit> {
    let file = settings.folder.join("kubelet.yaml");
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        // No controller is enabled in the node's cgroup: nothing can be enforced.
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": ["none"],
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "resolvConf": "",
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        // There is no registry to pull an image from again, and the disk is the machine's.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // The disk is not the node's: how full it is says nothing about its pods. 0 switches a threshold off.
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            "imagefs.inodesFree": "0%", "pid.available": "0%",
        },
    });
    write(&file, &configuration.to_string())?;
    let [v4, v6] = settings.addresses;
    Ok(Unit {
        program: "kubelet",
        arguments: vec![
            "--config".into(),
            file.into(),
            "--kubeconfig".into(),
            settings.kubeconfig.clone().into(),
            "--hostname-override".into(),
            settings.name.clone().into(),
            format!("--node-ip={v4},{v6}").into(),
            format!("--node-labels=topology.kubernetes.io/zone={}", settings.zone).into(),
        ],
    })
}
