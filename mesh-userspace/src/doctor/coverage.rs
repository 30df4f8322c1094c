//! The proof: a real connection from inside the cgroup is balanced.
//!
//! A child process goes into a fresh cgroup below the one that is examined and into a network namespace of its own, in
//! which every address is local: it is client and backend at once, and nothing leaves it.

use super::Check;
use super::probe::{Outcome, Question};
use crate::api::Client;
use crate::api::types::{ServiceDetail, ServiceTable};
use crate::config::DatapathConfig;
use anyhow::{Context as _, ensure};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "coverage";

/// Whether a connection is balanced. Needs an agent that answers: it knows the Services.
pub async fn check(datapath: &DatapathConfig, client: &Client, agent_answers: bool) -> Check {
    if !agent_answers {
        return Check::warning(NAME, "not tried: no agent tells which Services there are", "start one, and ask again");
    }
    let tables = match client.get::<Vec<ServiceTable>>("/v1/tables", &[]).await {
        Ok(tables) => tables,
        Err(error) => return Check::warning(NAME, format!("not tried: {error:#}"), "look at the agent's log"),
    };
    let Some(target) = choose(&tables) else {
        return Check::warning(
            NAME,
            "not tried: no Service has a TCP port with an eligible backend",
            "ask again when one has; mesh service list shows them",
        );
    };
    match prove(&target, datapath, client).await {
        Ok(check) => check,
        Err(error) => Check::failed(
            NAME,
            format!("the connection could not be tried: {error:#}"),
            "run as root, outside of a container that hides cgroups",
        ),
    }
}

/// What is dialled, and where it may arrive.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Target {
    service: String,
    frontend: SocketAddr,
    backends: Vec<SocketAddr>,
}

/// A TCP frontend with backends; rather one of a Service without limits, at which a refusal would prove nothing.
fn choose(tables: &[ServiceTable]) -> Option<Target> {
    let target = |table: &ServiceTable| {
        let port = table.ports.iter().find(|port| port.protocol == "TCP" && !port.backends.is_empty())?;
        let frontend = *port.frontends.first()?;
        Some(Target {
            service: format!("{}/{}", table.service.namespace, table.service.name),
            frontend,
            backends: port.backends.clone(),
        })
    };
    let unlimited =
        |table: &&ServiceTable| table.max_connections.is_none() && table.max_connections_per_backend.is_none();
    tables.iter().filter(unlimited).find_map(target).or_else(|| tables.iter().find_map(target))
}

async fn prove(target: &Target, datapath: &DatapathConfig, client: &Client) -> anyhow::Result<Check> {
    let before = counted(target, client).await?;
    let cgroup = SubCgroup::make(&datapath.cgroup)?;
    let outcome =
        ask(&Question { cgroup: cgroup.0.clone(), frontend: target.frontend, backends: target.backends.clone() })?;
    drop(cgroup);
    let after = counted(target, client).await?;
    Ok(judge(target, datapath, &outcome, before, after))
}

/// What the Service's counters say: admitted, refused.
async fn counted(target: &Target, client: &Client) -> anyhow::Result<(u64, u64)> {
    let detail: ServiceDetail = client.get(&format!("/v1/services/{}", target.service), &[]).await?;
    Ok((detail.service.opened, detail.service.refused))
}

/// Has a child try it.
fn ask(question: &Question) -> anyhow::Result<Outcome> {
    // By its name, which is what events show; the file may have been replaced since.
    let program = std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into());
    let output = Command::new(program)
        .arg("probe")
        .arg(serde_json::to_string(question)?)
        .stdin(Stdio::null())
        .output()
        .context("start a child process")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ")
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn judge(
    target: &Target,
    datapath: &DatapathConfig,
    outcome: &Outcome,
    before: (u64, u64),
    after: (u64, u64),
) -> Check {
    let Target { service, frontend, .. } = target;
    let cgroup = datapath.cgroup.display();
    let again = "start the agent anew; if that does not help, see the check of the programs above";
    match outcome {
        Outcome::Connected { peer, reached } if !target.backends.contains(reached) => Check::failed(
            NAME,
            format!(
                "a connection to {frontend} ({service}) from inside {cgroup} was not balanced: it went to {reached}, and getpeername shows {peer}"
            ),
            again,
        ),
        Outcome::Connected { peer, reached } if peer != frontend => Check::failed(
            NAME,
            format!(
                "a connection to {frontend} ({service}) reached {reached}, and getpeername shows {peer} in place of the frontend"
            ),
            again,
        ),
        Outcome::Connected { .. } if after.0 <= before.0 => Check::failed(
            NAME,
            format!(
                "a connection to {frontend} ({service}) was balanced, and the agent's counters did not notice: its pins are others than those in force"
            ),
            "end every agent, mesh unload with each one's --pins, and start one anew",
        ),
        Outcome::Connected { reached, .. } => Check::ok(
            NAME,
            format!(
                "a connection to {frontend} ({service}) from inside {cgroup} reached {reached}, showed the frontend, and was counted"
            ),
        ),
        Outcome::Refused { error } if after.1 > before.1 => Check::ok(
            NAME,
            format!(
                "a connection to {frontend} ({service}) from inside {cgroup} was refused ({error}) and counted as refused: the Service is at its limit"
            ),
        ),
        Outcome::Refused { error } => Check::failed(
            NAME,
            format!(
                "a connection to {frontend} ({service}) from inside {cgroup} was not balanced: {error}, and no counter noticed"
            ),
            again,
        ),
    }
}

/// A cgroup that is removed when dropped.
struct SubCgroup(PathBuf);

impl SubCgroup {
    fn make(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!("mesh-doctor-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make the cgroup {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for SubCgroup {
    fn drop(&mut self) {
        // The child has been waited for; the kernel may take a moment to let its cgroup go.
        for _ in 0..100 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Endings, PortTable, ServiceName, TrafficLimits};
    use crate::doctor::Verdict;

    fn table(name: &str, protocol: &str, backends: &[&str], limit: Option<u64>) -> ServiceTable {
        ServiceTable {
            service: ServiceName { namespace: "shop".into(), name: name.into() },
            addresses: vec!["10.96.0.1".parse().unwrap()],
            ports: vec![PortTable {
                protocol: protocol.into(),
                frontends: vec!["10.96.0.1:80".parse().unwrap()],
                algorithm: "Random".into(),
                affinity_timeout_seconds: None,
                backends: backends.iter().map(|backend| backend.parse().unwrap()).collect(),
                slots: backends.len(),
                endings: Endings::default(),
            }],
            kept: vec![],
            max_connections: limit,
            max_connections_per_backend: None,
            traffic: TrafficLimits::default(),
            load: None,
        }
    }

    #[test]
    fn a_service_that_can_prove_something_is_chosen() {
        let useless = [table("dns", "UDP", &["10.0.0.1:53"], None), table("empty", "TCP", &[], None)];
        assert_eq!(choose(&useless), None);
        let limited = table("limited", "TCP", &["10.0.0.1:8080"], Some(1));
        assert_eq!(choose(std::slice::from_ref(&limited)).unwrap().service, "shop/limited");
        let free = table("free", "TCP", &["10.0.0.1:8080"], None);
        assert_eq!(choose(&[limited, free]).unwrap().service, "shop/free");
    }

    #[test]
    fn every_way_to_go_astray_is_told_apart() {
        let target = choose(&[table("web", "TCP", &["10.0.0.1:8080"], None)]).unwrap();
        let datapath = DatapathConfig { cgroup: "/c".into(), pins: "/p".into() };
        let connected = |peer: &str, reached: &str| Outcome::Connected {
            peer: peer.parse().unwrap(),
            reached: reached.parse().unwrap(),
        };
        let refused = Outcome::Refused { error: "Connection refused".into() };
        let verdict = |outcome: &Outcome, before, after| judge(&target, &datapath, outcome, before, after).verdict;
        assert_eq!(verdict(&connected("10.96.0.1:80", "10.0.0.1:8080"), (0, 0), (1, 0)), Verdict::Ok);
        assert_eq!(verdict(&connected("10.96.0.1:80", "10.0.0.1:8080"), (1, 0), (1, 0)), Verdict::Failed);
        assert_eq!(verdict(&connected("10.0.0.1:8080", "10.0.0.1:8080"), (0, 0), (1, 0)), Verdict::Failed);
        assert_eq!(verdict(&connected("10.96.0.1:80", "10.96.0.1:80"), (0, 0), (1, 0)), Verdict::Failed);
        assert_eq!(verdict(&refused, (0, 0), (0, 1)), Verdict::Ok);
        assert_eq!(verdict(&refused, (0, 3), (0, 3)), Verdict::Failed);
    }
}
