//! `mesh plan`: what manifests would change in the maps, without touching them.

mod compare;
mod estimate;
mod render;

use super::arguments::{SocketArguments, node_ports};
use super::exit::Exit;
use super::output::{Format, print};
use crate::api::client::ClientError;
use crate::api::types::{Finding, ServiceName, ServiceTable, Status};
use crate::model::{NodePorts, ServiceKey};
use crate::source::manifests;
use crate::state::ClusterState;
use compare::{MapChange, ServiceChange};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Show what manifests would change in the maps of the running agent, without touching them.
///
/// The manifests are read as the agent reads them and compared with what its maps hold; when no agent answers, with
/// nothing. What is wrong with the manifests is shown, too. Exits with 5 when an object is rejected or in conflict, else
/// with 0, or, with --detailed-exitcode, with 6 when there are changes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The directory tree of the manifests.
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,

    /// The node to decide for. By default the agent's; without an agent this machine's host name.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,

    /// Serve spec.externalIPs, as an agent with this option does.
    #[arg(long)]
    external_ips: bool,

    /// At whose addresses clients reach NodePorts, as an agent with this option has it.
    #[arg(long, value_name = "WHOSE", default_value = NodePorts::default().name(), value_parser = node_ports())]
    node_ports: NodePorts,

    /// Exit with 6 when there are changes.
    #[arg(long)]
    detailed_exitcode: bool,

    #[command(flatten)]
    socket: SocketArguments,

    /// How to print.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
Examples:
  What would change if the agent read this directory?
    mesh plan --manifests ./shop
  Are the manifests sound? (no agent needed; 5 if not)
    mesh plan --manifests ./shop --node-name node-1 --socket /nonexistent
  In a pipeline, act only when there is something to do:
    mesh plan --manifests ./shop --detailed-exitcode || test $? = 6";

/// The plan; the keys of `-o json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    /// The node that was decided for.
    node: String,
    /// Whether an agent answered; without one everything is new.
    agent: bool,
    /// What becomes of each Service that differs.
    changes: Vec<ServiceChange>,
    /// How full each map is before and after.
    maps: Vec<MapChange>,
    /// What is wrong with the manifests.
    findings: Vec<Finding>,
}

impl Arguments {
    /// Reads, compares and prints.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.socket.client();
        let running = match client.get::<Status>("/v1/status", &[]).await {
            Ok(status) => Some((status.node, client.get::<Vec<ServiceTable>>("/v1/tables", &[]).await?)),
            Err(ClientError::Unreachable { socket, .. }) => {
                anstream::eprintln!("No agent answers on {}: compared with nothing.", socket.display());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let agent = running.is_some();
        let (agents_node, before) = running.unzip();
        let node = self.node_name.or(agents_node).unwrap_or_else(host_name);
        let before = before.unwrap_or_default();
        let (mut after, findings) = read(&self.manifests, &node, self.external_ips, self.node_ports)?;
        after.extend(goes_on(&before, &after, &findings));
        let plan = Plan {
            node,
            agent,
            changes: compare::compare(&before, &after),
            maps: compare::maps(&before, &after),
            findings,
        };
        if self.output.is_for_people() {
            print(&render::render(&plan))?;
        } else {
            self.output.document(&plan)?;
        }
        let unsound = plan.findings.iter().any(|f| f.severity == "rejected" || f.severity == "conflict");
        Ok(match () {
            () if unsound => Exit::Attention,
            () if self.detailed_exitcode && !plan.changes.is_empty() => Exit::Changes,
            () => Exit::Ok,
        })
    }
}

/// What the maps would hold, and what is wrong.
fn read(
    manifests: &Path,
    node: &str,
    external_ips: bool,
    node_ports: NodePorts,
) -> anyhow::Result<(Vec<ServiceTable>, Vec<Finding>)> {
    let mut state = ClusterState::new(node, 1).with_external_ips(external_ips).with_node_ports(node_ports);
    for change in manifests::read_once(manifests)?.0 {
        state.apply(change);
    }
    let table = |key: &ServiceKey| {
        let service = ServiceName { namespace: key.namespace.to_string(), name: key.name.to_string() };
        Some(ServiceTable::desired(service, &state.compile(key)?).with_inbound(state.limits(key)))
    };
    let tables = state.services().into_iter().filter_map(|service| table(&service.key)).collect();
    Ok((tables, state.findings().iter().map(Finding::from).collect()))
}

/// Services that the agent has and whose object is rejected: what they last meant goes on.
fn goes_on(before: &[ServiceTable], after: &[ServiceTable], findings: &[Finding]) -> Vec<ServiceTable> {
    let is_rejected = |service: &ServiceName| {
        findings
            .iter()
            .filter(|finding| finding.severity == "rejected")
            .filter_map(|finding| finding.object.as_ref())
            .any(|object| {
                object.kind == "Service" && object.namespace == service.namespace && object.name == service.name
            })
    };
    let is_there = |service: &ServiceName| after.iter().any(|table| table.service == *service);
    before.iter().filter(|table| is_rejected(&table.service) && !is_there(&table.service)).cloned().collect()
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
