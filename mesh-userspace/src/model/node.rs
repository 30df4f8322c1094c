//! A node of the cluster.

use super::Locality;
use std::net::IpAddr;
use std::sync::Arc;

/// A Node; the agent uses its own, and of the others the addresses and where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is, by its labels.
    pub locality: Locality,
    /// Whether it is about to go: load balancers are to send it nothing new (KEP-3836).
    pub deleting: bool,
    /// `status.addresses` of type `InternalIP`, or if there is none `ExternalIP`, each once.
    pub addresses: Vec<IpAddr>,
}

/// At whose addresses clients reach `NodePort`s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodePorts {
    /// At every node's. The agent follows all Nodes.
    #[default]
    AllNodes,
    /// At its own node's only.
    ThisNode,
    /// Nowhere.
    Off,
}

impl NodePorts {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::AllNodes, Self::ThisNode, Self::Off];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllNodes => "all-nodes",
            Self::ThisNode => "this-node",
            Self::Off => "off",
        }
    }
}
