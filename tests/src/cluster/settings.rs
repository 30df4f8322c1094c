//! What a node is told before its first process runs.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// Written by the cluster, read by the node's first process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// `node-1`.
    pub name: String,
    /// `zone-1`.
    pub zone: String,
    /// Counts from 1.
    pub number: u8,
    /// Its own, IPv4 first.
    pub addresses: [IpAddr; 2],
    /// What the cluster keeps on the machine's disk; the node sees it at the same path.
    pub home: PathBuf,
    /// The node's own folder in it.
    pub folder: PathBuf,
    /// Kubernetes' programs.
    pub programs: PathBuf,
    /// The network plugins.
    pub plugins: PathBuf,
    /// What containerd runs in runc's place.
    pub runc: PathBuf,
    /// Images that it starts with.
    pub images: Vec<PathBuf>,
    /// Its kubelet's file of access.
    pub kubeconfig: PathBuf,
    /// kube-proxy's file of access, if it is to run.
    pub kube_proxy: Option<PathBuf>,
    /// Where the API server answers.
    pub api: (IpAddr, u16),
}
