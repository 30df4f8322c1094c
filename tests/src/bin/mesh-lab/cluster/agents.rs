//! What the agents of a cluster say, each of its own node.

use crate::figures::{BackendFigures, ServiceFigures};
use anyhow::{Context, Result};
use mesh_tests::cluster::{Cluster, Mesh, Node};
use mesh_tests::object::ObjectName;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A Service, as the agent of a node counts it.
pub fn service(cluster: &Cluster, node: &Node, name: &ObjectName) -> Result<ServiceFigures> {
    let all: Vec<ServiceFigures> = ask(cluster, node, "service")?;
    let found = all.into_iter().find(|one| one.namespace == name.namespace && one.name == name.name);
    found.with_context(|| format!("the agent of {} has no {name}", node.name()))
}

/// The backends that the agent of a node knows.
pub fn backends(cluster: &Cluster, node: &Node) -> Result<Vec<BackendFigures>> {
    ask(cluster, node, "backend")
}

/// The cookies of the sockets that are connected through Services on a node.
pub fn cookies(cluster: &Cluster, node: &Node) -> Result<Vec<u64>> {
    let sockets: Vec<Value> = ask(cluster, node, "connection")?;
    let mut cookies: Vec<_> = sockets.iter().filter_map(|socket| socket["cookie"].as_u64()).collect();
    cookies.sort_unstable();
    Ok(cookies)
}

fn ask<T: DeserializeOwned>(cluster: &Cluster, node: &Node, what: &str) -> Result<T> {
    let said = Mesh::ask(cluster, node, &[what, "list"])?;
    serde_json::from_value(said).with_context(|| format!("read mesh {what} list of {}", node.name()))
}
