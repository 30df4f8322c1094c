//! The network of a node's pods: a bridge, with an address of each family for each pod.

use super::super::addresses::pods;
use super::super::settings::Settings;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Where containerd looks for it.
pub const FOLDER: &str = "/etc/cni/net.d";

/// Writes the plugins' configuration.
pub fn configure(settings: &Settings) -> Result<()> {
    let [v4, v6] = pods(settings.number);
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": v4}], [{"subnet": v6}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}},
        ],
    });
    fs::create_dir_all(FOLDER).with_context(|| format!("make {FOLDER}"))?;
    super::write(&Path::new(FOLDER).join("10-pods.conflist"), &network.to_string())
}
