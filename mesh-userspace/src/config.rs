//! What the command line asks of the agent.

use mesh_common::tables::sizes;
use std::path::PathBuf;

/// The socket of the agent unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";

/// The directory of the pins unless told otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/mesh";

/// `mesh agent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentConfig {
    /// The directory tree of the manifests.
    pub manifests: PathBuf,
    /// The node that the agent decides for.
    pub node_name: String,
    /// The data path.
    pub datapath: DatapathConfig,
    /// The unix socket of the API.
    pub socket: PathBuf,
    /// How large the maps are made.
    pub sizes: TableSizes,
    /// Which choices and refusals become events.
    pub events: EventSampling,
}

/// Where a data path is: what `mesh unload` takes away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatapathConfig {
    /// The cgroup2 directory that the programs are attached to; `None` for the whole machine's.
    pub cgroup: Option<PathBuf>,
    /// The directory of the pins, on a bpffs.
    pub pins: PathBuf,
}

/// Sizes of the maps, in entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableSizes {
    /// `FRONTENDS`.
    pub frontends: u32,
    /// `SERVICES`.
    pub services: u32,
    /// `SLOTS`.
    pub slots: u32,
    /// `BACKENDS`.
    pub backends: u32,
    /// `CONNECTIONS`.
    pub connections: u32,
}

impl Default for TableSizes {
    fn default() -> Self {
        Self {
            frontends: sizes::FRONTENDS,
            services: sizes::SERVICES,
            slots: sizes::SLOTS,
            backends: sizes::BACKENDS,
            connections: sizes::CONNECTIONS,
        }
    }
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
