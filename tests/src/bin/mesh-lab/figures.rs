//! What the agent says of Services, backends and connections: `mesh ... -o json`, read.

use anyhow::{Context, Result};
use mesh_tests::object::ObjectName;
use mesh_tests::world::Agent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// A Service of `mesh service list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceFigures {
    pub namespace: String,
    pub name: String,
    pub state: String,
    pub message: String,
    pub active: u64,
    pub opened: u64,
    pub refused: u64,
    pub max_connections: Option<u64>,
    pub max_connections_per_backend: Option<u64>,
}

/// A backend of `mesh backend list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendFigures {
    pub service: Named,
    pub address: IpAddr,
    pub port: u16,
    pub protocol: String,
    pub pod: String,
    pub state: String,
    pub active: u64,
}

/// A Service's name inside another object.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    pub namespace: String,
    pub name: String,
}

impl Named {
    /// `shop/web`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A socket of `mesh connection list`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
pub struct ConnectionFigures {
    pub cookie: u64,
    pub frontend: SocketAddr,
    pub backend: SocketAddr,
    pub protocol: String,
}

/// All that the agent says at one time.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub services: Vec<ServiceFigures>,
    pub backends: Vec<BackendFigures>,
    /// Refusals by reason, for the Services that have any.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Figures {
    /// Asks the agent.
    pub fn ask(agent: &Agent) -> Result<Self> {
        let services: Vec<ServiceFigures> = parse(agent, &["service", "list"])?;
        let mut refusals = BTreeMap::new();
        for service in services.iter().filter(|service| service.refused > 0) {
            refusals.insert(service.label(), refusals_of(agent, &service.label())?);
        }
        Ok(Self { services, backends: parse(agent, &["backend", "list"])?, refusals })
    }

    /// One Service.
    pub fn service(&self, name: &ObjectName) -> Result<&ServiceFigures> {
        let found = self.services.iter().find(|s| s.namespace == name.namespace && s.name == name.name);
        found.with_context(|| format!("`mesh service list` has no {}/{}", name.namespace, name.name))
    }

    /// Connections that are open, by backend, where there are any.
    pub fn active(&self) -> BTreeMap<String, u64> {
        let of =
            |b: &BackendFigures| (format!("{} {} {}:{}", b.service.label(), b.protocol, b.address, b.port), b.active);
        self.backends.iter().map(of).filter(|(_, active)| *active > 0).collect()
    }
}

impl ServiceFigures {
    /// `shop/web`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The sockets that are connected through Services.
pub fn connections(agent: &Agent) -> Result<BTreeSet<ConnectionFigures>> {
    parse(agent, &["connection", "list"])
}

fn refusals_of(agent: &Agent, service: &str) -> Result<BTreeMap<String, u64>> {
    #[derive(Deserialize)]
    struct Detail {
        reasons: BTreeMap<String, u64>,
    }
    const OTHERS: [&str; 5] = ["selected", "spilled", "flow-kept", "affinity", "ejected"];
    let Detail { mut reasons } = parse(agent, &["service", "show", service])?;
    reasons.retain(|reason, times| *times > 0 && !OTHERS.contains(&reason.as_str()) && !reason.starts_with("observed"));
    Ok(reasons)
}

fn parse<T: DeserializeOwned>(agent: &Agent, arguments: &[&str]) -> Result<T> {
    serde_json::from_value(agent.ask(arguments)?).with_context(|| format!("read mesh {}", arguments.join(" ")))
}
