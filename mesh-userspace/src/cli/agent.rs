//! `mesh agent`: the arguments of the agent.

use super::arguments::{DatapathArguments, node_ports};
use super::exit::Exit;
use crate::agent;
use crate::config::{AgentConfig, DEFAULT_SOCKET, EventSampling, Source};
use crate::datapath::{self, Sizes, TcAttach};
use crate::model::NodePorts;
use crate::source::kubernetes::Connection;
use clap::builder::TypedValueParser as _;
use mesh_common::tables::sizes;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve what a Kubernetes cluster, or a directory of manifests, says, in the foreground.
///
/// Loads the programs, attaches them to the cgroup, and keeps their maps as the source says, following every change.
/// Logs go to stderr (RUST_LOG chooses what); readiness goes to systemd. SIGTERM ends the agent and leaves the data path
/// in place: connections, old and new, go on, and the next agent adopts it. `mesh unload` takes it away.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The directory tree of the manifests: Service, EndpointSlice, Node and TrafficPolicy, in YAML or JSON. Without it
    /// the same objects come from the Kubernetes API server.
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    manifests: Option<PathBuf>,

    /// How to reach the API server; without it, by the pod's own service account.
    #[arg(long, value_name = "FILE", help_heading = "Source", conflicts_with = "manifests")]
    kubeconfig: Option<PathBuf>,

    /// The API server's URL, in place of the kubeconfig's or of the Service `kubernetes`, which an agent in kube-proxy's
    /// place cannot use. The certificate is checked all the same.
    #[arg(long, value_name = "URL", env = "MESH_API_SERVER", help_heading = "Source", conflicts_with = "manifests")]
    api_server: Option<String>,

    /// The node to decide for, as endpoints name it in `nodeName`.
    #[arg(long, value_name = "NAME", env = "NODE_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    node_name: String,

    /// Serve spec.externalIPs. Off by default: who may write them into a Service may take any traffic (CVE-2020-8554).
    #[arg(long)]
    external_ips: bool,

    /// At whose addresses clients in the cluster reach NodePorts. For all-nodes the agent follows every Node; in clusters of
    /// thousands of nodes their heartbeats may be too much for the API server.
    #[arg(long, value_name = "WHOSE", default_value = NodePorts::default().name(), value_parser = node_ports())]
    node_ports: NodePorts,

    #[command(flatten)]
    datapath: DatapathArguments,

    /// How programs are attached to the interfaces of pods with maxInboundConnectionsPerBackend: by links (tcx, Linux 6.6 and
    /// later), or by filters of a clsact qdisc, beside those of the CNI. auto: by links, where the kernel has them. What an
    /// earlier agent attached in the other way is replaced without a gap.
    #[arg(long, value_name = "HOW", default_value = AUTO, value_parser = tc_attach())]
    tc_attach: Choice,

    /// The unix socket to answer on.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, env = "MESH_SOCKET")]
    socket: PathBuf,

    /// Answer /healthz, /livez and /readyz here, for load balancers and the kubelet (kube-proxy: 0.0.0.0:10256).
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Observing")]
    health_address: Option<SocketAddr>,

    /// Answer at Services' healthCheckNodePorts, in kube-proxy's place: load balancers ask there whether the node has endpoints.
    #[arg(long, help_heading = "Observing")]
    health_check_node_ports: bool,

    /// Answer /metrics here, for Prometheus (kube-proxy: 127.0.0.1:10249). It names Services, so choose who reaches it.
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Observing")]
    metrics_address: Option<SocketAddr>,

    /// Most frontends: one for each ClusterIP, port and protocol.
    #[arg(long, value_name = "N", default_value_t = sizes::FRONTENDS, value_parser = entries(), help_heading = "Sizes")]
    max_frontends: u32,

    /// Most addresses that belong to a Service.
    #[arg(long, value_name = "N", default_value_t = sizes::ADDRESSES, value_parser = entries(), help_heading = "Sizes")]
    max_addresses: u32,

    /// Most Service ports, each family by itself.
    #[arg(long, value_name = "N", default_value_t = sizes::SERVICES, value_parser = entries(), help_heading = "Sizes")]
    max_services: u32,

    /// Most slots of all Services together: one for each eligible backend of a port, more by weight, 251 and more for
    /// Maglev; changes build beside what they replace, so leave room for twice as many.
    #[arg(long, value_name = "N", default_value_t = sizes::SLOTS, value_parser = entries(), help_heading = "Sizes")]
    max_slots: u32,

    /// Most backends of all Services together.
    #[arg(long, value_name = "N", default_value_t = sizes::BACKENDS, value_parser = entries(), help_heading = "Sizes")]
    max_backends: u32,

    /// Most sockets connected through a Service at one time; more are refused.
    #[arg(long, value_name = "N", default_value_t = sizes::CONNECTIONS, value_parser = entries(), help_heading = "Sizes")]
    max_connections: u32,

    /// Most flows of UDP sockets that are not connected; the oldest give way.
    #[arg(long, value_name = "N", default_value_t = sizes::FLOWS, value_parser = entries(), help_heading = "Sizes")]
    max_flows: u32,

    /// Most clients that keep to a backend, over all Services with session affinity; the one that stayed away longest is
    /// balanced anew.
    #[arg(long, value_name = "N", default_value_t = sizes::AFFINITIES, value_parser = entries(), help_heading = "Sizes")]
    max_affinities: u32,

    /// One choice in N becomes an event, rounded up to a power of two; 0 for none. Refusals are not sampled.
    #[arg(long, value_name = "N", default_value_t = EventSampling::default().one_choice_in, help_heading = "Events")]
    event_sample: u32,

    /// Most events a second on each processor; 0 for none at all.
    #[arg(long, value_name = "N", default_value_t = EventSampling::default().per_second, help_heading = "Events")]
    event_rate: u32,
}

const EXAMPLES: &str = "\
Examples:
  Serve the whole machine:
    mesh agent --manifests /etc/mesh/manifests --node-name node-1
  Serve the cluster, from outside a pod:
    mesh agent --kubeconfig /etc/kubernetes/mesh.conf --node-name node-1
  Serve one cgroup, beside another agent:
    mesh agent --manifests ./shop --node-name node-1 --cgroup /sys/fs/cgroup/shop \\
      --pins /sys/fs/bpf/shop --socket /run/shop.sock
  See every choice as an event:
    mesh agent --manifests ./shop --node-name node-1 --event-sample 1 --event-rate 10000";

/// Index 0 of a table is never given out, so one entry is none.
fn entries() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(2..=1 << 26)
}

/// As the kernel allows.
const AUTO: &str = "auto";

/// A way to attach programs to interfaces, or `None` for whichever the kernel has.
#[derive(Clone, Copy, Debug)]
struct Choice(Option<TcAttach>);

/// One of the ways, or [`AUTO`].
fn tc_attach() -> impl clap::builder::TypedValueParser<Value = Choice> {
    let names = clap::builder::PossibleValuesParser::new([AUTO].into_iter().chain(TcAttach::ALL.map(TcAttach::name)));
    names.map(|name| Choice(TcAttach::ALL.into_iter().find(|way| way.name() == name)))
}

impl Arguments {
    /// Runs the agent until it is told to end.
    pub fn run(self) -> anyhow::Result<Exit> {
        agent::run(&self.config()?).map(|()| Exit::Ok)
    }

    fn config(self) -> Result<AgentConfig, datapath::Error> {
        Ok(AgentConfig {
            source: match self.manifests {
                Some(directory) => Source::Manifests(directory),
                None => Source::Kubernetes(Connection { kubeconfig: self.kubeconfig, server: self.api_server }),
            },
            node_name: self.node_name,
            external_ips: self.external_ips,
            node_ports: self.node_ports,
            datapath: self.datapath.config()?,
            tc_attach: self.tc_attach.0,
            socket: self.socket,
            health: self.health_address,
            health_check_node_ports: self.health_check_node_ports,
            metrics: self.metrics_address,
            sizes: Sizes {
                frontends: self.max_frontends,
                addresses: self.max_addresses,
                services: self.max_services,
                slots: self.max_slots,
                backends: self.max_backends,
                connections: self.max_connections,
                flows: self.max_flows,
                affinities: self.max_affinities,
            },
            events: EventSampling { one_choice_in: self.event_sample, per_second: self.event_rate },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<AgentConfig, clap::Error> {
        Command::try_parse_from(line.split_whitespace()).map(|command| command.arguments.config().unwrap())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = parse("agent --manifests m --node-name n --cgroup /c").unwrap();
        assert_eq!(config.socket, PathBuf::from("/run/mesh/mesh.sock"));
        assert_eq!(config.datapath.pins, PathBuf::from("/sys/fs/bpf/mesh"));
        assert_eq!(config.sizes, Sizes::default());
        assert_eq!((config.health, config.metrics), (None, None));
        assert!(!config.health_check_node_ports, "kube-proxy may have them");
        assert_eq!(config.events, EventSampling::default());
        assert!(!config.external_ips, "CVE-2020-8554");
        assert_eq!(config.node_ports, NodePorts::AllNodes);
        assert_eq!(config.tc_attach, None, "as the kernel allows");
    }

    #[test]
    fn every_argument_arrives() {
        let config = parse(
            "agent --manifests m --node-name n --cgroup /c --pins /p --socket /s --max-frontends 2 --max-services 3 \
             --max-slots 4 --max-backends 5 --max-connections 6 --max-addresses 7 --max-flows 8 --max-affinities 9 \
             --event-sample 10 --event-rate 11 --external-ips --health-address 0.0.0.0:10256 \
             --metrics-address [::1]:10249 --node-ports this-node --health-check-node-ports \
             --tc-attach clsact",
        )
        .unwrap();
        assert_eq!((config.datapath.cgroup, config.datapath.pins), ("/c".into(), "/p".into()));
        assert_eq!(config.socket, PathBuf::from("/s"));
        assert!(config.external_ips);
        assert_eq!(config.node_ports, NodePorts::ThisNode);
        assert!(config.health_check_node_ports);
        assert_eq!(config.tc_attach, Some(TcAttach::Clsact));
        assert_eq!(config.health, "0.0.0.0:10256".parse().ok());
        assert_eq!(config.metrics, "[::1]:10249".parse().ok());
        let sizes = Sizes {
            frontends: 2,
            addresses: 7,
            services: 3,
            slots: 4,
            backends: 5,
            connections: 6,
            flows: 8,
            affinities: 9,
        };
        assert_eq!(config.sizes, sizes);
        assert_eq!(config.events, EventSampling { one_choice_in: 10, per_second: 11 });
    }

    #[test]
    fn without_manifests_the_source_is_the_api_server() {
        let source = |line: &str| parse(line).unwrap().source;
        assert_eq!(source("agent --node-name n --cgroup /c"), Source::Kubernetes(Connection::default()));
        assert_eq!(
            source("agent --node-name n --cgroup /c --kubeconfig /k --api-server https://10.0.0.1:6443"),
            Source::Kubernetes(Connection {
                kubeconfig: Some("/k".into()),
                server: Some("https://10.0.0.1:6443".into())
            })
        );
        assert_eq!(source("agent --node-name n --cgroup /c --manifests m"), Source::Manifests("m".into()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "agent --manifests m --node-name n --kubeconfig k",
            "agent --manifests m --node-name n --api-server https://a",
            "agent --manifests m --node-name n --max-slots 1",
            "agent --manifests m --node-name n --max-slots 100000000",
            "agent --manifests m --node-name n --event-rate -1",
            "agent --manifests m --node-name=",
            "agent --manifests m --node-name n --node-ports some",
            "agent --manifests m --node-name n --tc-attach xdp",
            "agent --manifests m --node-name n --health-address 10256",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
