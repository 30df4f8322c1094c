//! What tests expect of a Service, waited for: a manifest that was written takes effect a moment later.

use crate::client::{Client, Tally};
use crate::echo::Transport;
use crate::wait::wait_for;
use crate::world::Agent;
use anyhow::{Context, Result, anyhow, ensure};
use nix::libc::ECONNREFUSED;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Connects in a row that decide who is reached. Five equally likely backends are all hit by so many but for one run in
/// a million.
const CONNECTS: u32 = 70;

/// Waits until connections reach these servers, each of them and no other, and then checks that it is so.
pub fn reaches(client: &Client, transport: Transport, to: SocketAddr, servers: &[&str]) -> Result<()> {
    let wanted: Vec<&str> = sorted(servers);
    let what = format!("{transport:?} connections to {to} to reach {}", wanted.join(", "));
    let seen = |times| -> Result<Tally> {
        let tally = match transport {
            Transport::Tcp => client.tally(to, times)?,
            Transport::Udp => client.tally_udp(to, times)?,
        };
        let reached: Vec<&str> = tally.answers.keys().map(String::as_str).collect();
        ensure!(tally.failed() == 0 && reached == wanted, "{:?}, errors {:?}", tally.answers, tally.errors);
        Ok(tally)
    };
    wait_for(&what, || seen(10 * u32::try_from(wanted.len())?))?;
    seen(CONNECTS).map(|_| ()).with_context(|| what)
}

/// [`reaches`] with TCP.
pub fn tcp_reaches(client: &Client, to: SocketAddr, servers: &[&str]) -> Result<()> {
    reaches(client, Transport::Tcp, to, servers)
}

/// [`reaches`] with a connected UDP socket each time.
pub fn udp_reaches(client: &Client, to: SocketAddr, servers: &[&str]) -> Result<()> {
    reaches(client, Transport::Udp, to, servers)
}

/// Waits until connections are refused, by connect() itself, and then checks that every one is.
pub fn refused(client: &Client, transport: Transport, to: SocketAddr) -> Result<()> {
    let try_once = || match transport {
        Transport::Tcp => client.connect(to).map(drop),
        Transport::Udp => client.connect_udp(to).map(drop),
    };
    let refused = || match try_once() {
        Err(error) if error.raw_os_error() == Some(ECONNREFUSED) => Ok(()),
        other => Err(anyhow!("{other:?}")),
    };
    wait_for(&format!("{transport:?} connections to {to} to be refused"), refused)?;
    (0..20).try_for_each(|_| refused()).with_context(|| format!("{to} refuses now and then"))
}

/// [`refused`] with TCP.
pub fn tcp_refused(client: &Client, to: SocketAddr) -> Result<()> {
    refused(client, Transport::Tcp, to)
}

/// What is counted as open: for the Service, and for each pod behind it that has any (all ports together). A backend
/// whose endpoint is gone goes by its address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Open {
    /// The Service's count.
    pub service: u64,
    /// The backends' counts, without zeros.
    pub backends: BTreeMap<String, u64>,
    /// Connections that the table holds.
    pub connections: u64,
}

impl Open {
    /// Counts that agree: so many for each pod.
    pub fn of(backends: &[(&str, u64)]) -> Self {
        let sum = backends.iter().map(|(_, open)| open).sum();
        let backends = backends.iter().filter(|(_, open)| *open > 0).map(|(pod, open)| ((*pod).to_owned(), *open));
        Self { service: sum, backends: backends.collect(), connections: sum }
    }
}

/// What the agent counts as open to a Service of the namespace `default`.
pub fn open(agent: &Agent, service: &str) -> Result<Open> {
    let number = |value: &Value| value.as_u64().with_context(|| format!("{value} is no count"));
    let mut open = Open { service: number(&agent.service("default", service)?["active"])?, ..Open::default() };
    for backend in listed(agent, "backend", service)? {
        let count = number(&backend["active"])?;
        if count > 0 {
            let name = ["pod", "address"].map(|key| backend[key].as_str().unwrap_or_default());
            let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
            *open.backends.entry(name.to_owned()).or_default() += count;
        }
    }
    open.connections = listed(agent, "connection", service)?.len() as u64;
    Ok(open)
}

/// Waits until the counts of a Service are these: a socket's end is counted when the kernel gets to it.
pub fn counts(agent: &Agent, service: &str, expected: &[(&str, u64)]) -> Result<()> {
    let expected = Open::of(expected);
    wait_for(&format!("the counts of {service} to be {expected:?}"), || {
        let seen = open(agent, service)?;
        ensure!(seen == expected, "{seen:?}");
        Ok(())
    })
}

fn listed(agent: &Agent, what: &str, service: &str) -> Result<Vec<Value>> {
    let Value::Array(all) = agent.ask(&[what, "list", "-n", "default"])? else { return Err(anyhow!("no list")) };
    Ok(all.into_iter().filter(|one| one["service"]["name"] == service).collect())
}

/// Connections refused for a reason, over all Services, as `mesh status` has it.
pub fn refusals(agent: &Agent, reason: &str) -> Result<u64> {
    let status = agent.status()?;
    status["refusals"][reason].as_u64().with_context(|| format!("no {reason} in {}", status["refusals"]))
}

/// Waits until `mesh status` has a finding about this object (`Service/web`) and field with this severity, checks that
/// it says in which file and what to do, and returns it.
pub fn finding(agent: &Agent, severity: &str, object: &str, field: &str) -> Result<Value> {
    let found = wait_for(&format!("a finding: {severity}, {object}, {field}"), || {
        let findings = findings(agent)?;
        let matches = |f: &&Value| f["severity"] == severity && object_of(f) == object && f["field"] == field;
        findings.iter().find(matches).cloned().ok_or_else(|| anyhow!("{findings:?}"))
    })?;
    for key in ["file", "message", "action"] {
        ensure!(found[key].as_str().is_some_and(|text| !text.is_empty()), "{key} is missing in {found}");
    }
    Ok(found)
}

/// Waits until the agent's log has a line with this text.
pub fn logged(agent: &Agent, text: &str) -> Result<()> {
    wait_for(&format!("the log to say {text}"), || {
        let log = agent.log();
        ensure!(log.lines().any(|line| line.contains(text)), "{log}");
        Ok(())
    })
}

/// Waits until `mesh status` has no findings.
pub fn no_findings(agent: &Agent) -> Result<()> {
    wait_for("the findings to go", || {
        let findings = findings(agent)?;
        ensure!(findings.is_empty(), "{findings:?}");
        Ok(())
    })
}

/// The findings of `mesh status`.
pub fn findings(agent: &Agent) -> Result<Vec<Value>> {
    match agent.status()?["findings"].take() {
        Value::Array(findings) => Ok(findings),
        other => Err(anyhow!("findings are no list: {other}")),
    }
}

/// `Service/web`; empty for a finding without an object.
fn object_of(finding: &Value) -> String {
    match (finding["object"]["kind"].as_str(), finding["object"]["name"].as_str()) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        _ => String::new(),
    }
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}
