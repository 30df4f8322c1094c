//! The running agent.

use super::Check;
use crate::api::Client;
use crate::api::client::ClientError;
use crate::api::types::{Health, Status};
use crate::config::DatapathConfig;
use mesh_common::tables::ABI_VERSION;
use std::path::Path;

/// Whether an agent answers, is well, and is the one of this data path.
pub async fn check(client: &Client, datapath: &DatapathConfig) -> (Check, Option<Status>) {
    const NAME: &str = "agent";
    let socket = client.socket().display();
    match client.get::<Status>("/v1/status", &[]).await {
        Ok(status) => (judge(&status, datapath), Some(status)),
        Err(ClientError::Unreachable { cause, .. }) => {
            let action = format!(
                "start one (mesh agent --manifests DIR --node-name NAME --socket {socket}), or name its --socket; what an \
                 earlier agent left goes on meanwhile"
            );
            (Check::warning(NAME, format!("none answers on {socket}: {cause}"), action), None)
        }
        Err(error) => (Check::failed(NAME, format!("{error:#}"), "look at the agent's log"), None),
    }
}

fn judge(status: &Status, datapath: &DatapathConfig) -> Check {
    const NAME: &str = "agent";
    if status.abi != ABI_VERSION {
        return Check::warning(
            NAME,
            format!("it speaks layout {} of the maps, this command {ABI_VERSION}", status.abi),
            "use the mesh of the agent's own version; the checks below are of this one's layout",
        );
    }
    if Path::new(&status.pins) != datapath.pins || Path::new(&status.cgroup) != datapath.cgroup {
        return Check::warning(
            NAME,
            format!("it serves {} with pins in {}: not what is examined here", status.cgroup, status.pins),
            format!("examine that: mesh doctor --cgroup {} --pins {}", status.cgroup, status.pins),
        );
    }
    match status.health {
        Health::Ok => Check::ok(NAME, format!("mesh {} on node {} is well", status.version, status.node)),
        Health::Starting => Check::warning(NAME, "it is starting", "wait; if it stays so, see mesh status"),
        Health::Degraded => {
            Check::warning(NAME, format!("it is degraded: {}", status.problems.join("; ")), "see mesh status")
        }
    }
}
