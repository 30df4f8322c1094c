//! What the command line asks of the agent.

use crate::datapath::{Sizes, TcAttach};
use crate::model::NodePorts;
use crate::source::kubernetes::Connection;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The socket of the agent unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";

/// The directory of the pins unless told otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/mesh";

/// `mesh agent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentConfig {
    /// Where the cluster's objects come from.
    pub source: Source,
    /// The node that the agent decides for.
    pub node_name: String,
    /// Whether `spec.externalIPs` are served.
    pub external_ips: bool,
    /// At whose addresses `NodePort`s are served.
    pub node_ports: NodePorts,
    /// The data path.
    pub datapath: DatapathConfig,
    /// How programs are attached to pods' interfaces; as the kernel allows when `None`.
    pub tc_attach: Option<TcAttach>,
    /// The unix socket of the API.
    pub socket: PathBuf,
    /// Where `/healthz`, `/livez` and `/readyz` are answered over TCP; nowhere when `None`.
    pub health: Option<SocketAddr>,
    /// Whether Services' `healthCheckNodePort`s are answered.
    pub health_check_node_ports: bool,
    /// Where `/metrics` is answered over TCP; nowhere when `None`.
    pub metrics: Option<SocketAddr>,
    /// How large the maps are made.
    pub sizes: Sizes,
    /// Which choices and refusals become events.
    pub events: EventSampling,
}

/// Where the cluster's objects come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A directory tree of manifests.
    Manifests(PathBuf),
    /// The Kubernetes API server.
    Kubernetes(Connection),
}

/// Where a data path is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatapathConfig {
    /// The cgroup2 directory that the programs are attached to.
    pub cgroup: PathBuf,
    /// The directory of the pins, on a bpffs.
    pub pins: PathBuf,
}

/// Which choices and refusals become events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventSampling {
    /// One choice in this many; 0 for none. Refusals are not sampled.
    pub one_choice_in: u32,
    /// Most events a second on each processor; 0 for none at all.
    pub per_second: u32,
}

impl Default for EventSampling {
    fn default() -> Self {
        Self { one_choice_in: 128, per_second: 100 }
    }
}
