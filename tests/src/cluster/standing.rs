//! A cluster that somebody has started and left: to work with, and to take away.

use super::components::Components;
use super::helm::Helm;
use super::kubectl::Kubectl;
use super::node::Node;
use super::place;
use crate::world::Home;
use anyhow::{Context, Result, ensure};

/// A cluster that no value in this process owns.
#[derive(Debug)]
pub struct Standing {
    home: Home,
}

impl Standing {
    /// All of them, whoever works with them, by the beginning of their names.
    pub fn all(prefix: &str) -> Vec<Self> {
        Home::all(prefix).into_iter().filter(Home::is_kept).map(|home| Self { home }).collect()
    }

    /// The one of this name, or else the only one.
    pub fn find(prefix: &str, name: Option<&str>) -> Result<Self> {
        let mut all = Self::all(prefix);
        if let Some(name) = name {
            let found = all.into_iter().find(|one| one.name() == name);
            return found.with_context(|| format!("no cluster {name} is up: `cargo xtask cluster status` lists them"));
        }
        let names: Vec<_> = all.iter().map(|one| one.home.name().to_owned()).collect();
        ensure!(
            all.len() < 2,
            "{} are up: name one, as: cluster --cluster {} kubectl ...",
            names.join(" and "),
            names[0]
        );
        all.pop().context("no cluster is up: start one with `cargo xtask cluster up`")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.home.name()
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        let program = Components::find()?.program("kubectl")?;
        Ok(Kubectl::of(program, place::control_plane(&self.home)?))
    }

    /// helm as the administrator.
    pub fn helm(&self) -> Result<Helm> {
        Helm::beside(&self.kubectl()?)
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<Node> {
        Node::open(&self.home, name)
    }
}
