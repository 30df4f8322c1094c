//! What the agents of a cluster say, each of its own node.

use crate::figures::{BackendFigures, ConnectionFigures, ServiceFigures};
use anyhow::{Context, Result};
use mesh_tests::cluster::{Cluster, Mesh, Node};
use mesh_tests::control_plane::Frontend;
use mesh_tests::object::ObjectName;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

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

/// The cookies of the sockets on a node that are connected to these frontends.
pub fn cookies(cluster: &Cluster, node: &Node, frontends: &[Frontend]) -> Result<BTreeSet<u64>> {
    let sockets: Vec<ConnectionFigures> = ask(cluster, node, "connection")?;
    let is_ours = |socket: &&ConnectionFigures| frontends.iter().any(|frontend| frontend.address == socket.frontend);
    Ok(sockets.iter().filter(is_ours).map(|socket| socket.cookie).collect())
}

fn ask<T: DeserializeOwned>(cluster: &Cluster, node: &Node, what: &str) -> Result<T> {
    let said = Mesh::ask(cluster, node, &[what, "list"])?;
    serde_json::from_value(said).with_context(|| format!("read mesh {what} list of {}", node.name()))
}
