//! Arguments that several verbs share.

use crate::api::Client;
use crate::config::{DEFAULT_PINS, DEFAULT_SOCKET, DatapathConfig};
use crate::datapath;
use crate::model::NodePorts;
use clap::builder::TypedValueParser as _;
use std::path::PathBuf;

/// Which agent is asked.
#[derive(clap::Args, Debug)]
pub struct SocketArguments {
    /// The agent's unix socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, env = "MESH_SOCKET")]
    pub socket: PathBuf,
}

impl SocketArguments {
    /// A client of that agent.
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }
}

/// Which data path is meant.
#[derive(clap::Args, Debug)]
pub struct DatapathArguments {
    /// The cgroup2 directory that the programs are attached to: processes in it and below it are served. By default the
    /// whole machine: the cgroup2 mount in /proc/self/mountinfo.
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,

    /// The directory of the pins, on a bpffs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pub pins: PathBuf,
}

impl DatapathArguments {
    /// The data path, its cgroup found when it was not named.
    pub fn config(self) -> Result<DatapathConfig, datapath::Error> {
        let cgroup = self.cgroup.map_or_else(datapath::find_cgroup, Ok)?;
        Ok(DatapathConfig { cgroup, pins: self.pins })
    }
}

/// Which namespaces a listing is about.
#[derive(clap::Args, Debug)]
pub struct NamespaceArguments {
    /// Only this namespace.
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,

    /// Every namespace: the default, spelt out as kubectl has it.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

impl NamespaceArguments {
    /// The parameter of the request.
    pub fn parameter(&self) -> [(&'static str, Option<&str>); 1] {
        [("namespace", self.namespace.as_deref())]
    }
}

/// One of the names of [`NodePorts`].
pub fn node_ports() -> impl clap::builder::TypedValueParser<Value = NodePorts> {
    let names = clap::builder::PossibleValuesParser::new(NodePorts::ALL.map(NodePorts::name));
    names.map(|name| NodePorts::ALL.into_iter().find(|choice| choice.name() == name).unwrap_or_default())
}
