//! `mesh-cluster up`: starts a cluster, says how to work with it, and leaves it.

use crate::PREFIX;
use anyhow::Result;
use clap::ValueEnum;
use mesh_tests::cluster::{Cluster, Mesh, NAMESPACE, Options, Standing};
use std::path::PathBuf;
use std::time::Instant;

/// What the cluster is to have.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many nodes: node-1 in zone-1, node-2 in zone-2, and so on.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..100))]
    nodes: u8,
    /// Who serves Services.
    #[arg(long, value_enum, default_value_t = Serving::KubeProxy)]
    proxy: Serving,
    /// The archive of mesh's image, as `cargo xtask image` writes it. Without it, one is made of the `mesh` that was built with
    /// this command.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Values of mesh's chart, as: logLevel=debug
    #[arg(long = "set", value_name = "VALUE")]
    values: Vec<String>,
}

/// Who serves Services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Serving {
    /// kube-proxy, in its nftables mode.
    KubeProxy,
    /// mesh in kube-proxy's place, as its DaemonSet.
    Mesh,
    /// mesh beside kube-proxy.
    Both,
    /// Nobody: Services get addresses, and nothing answers there; so CoreDNS does not get ready.
    None,
}

impl Arguments {
    /// Starts it.
    pub fn run(&self) -> Result<()> {
        let others = !Standing::all(PREFIX).is_empty();
        let started = Instant::now();
        let options = Options {
            nodes: self.nodes,
            kube_proxy: matches!(self.proxy, Serving::KubeProxy | Serving::Both),
            mesh: match self.proxy {
                Serving::Mesh | Serving::Both => {
                    Some(Mesh { image: self.image.clone(), values: self.values.clone(), ..Mesh::of_this_workspace()? })
                }
                Serving::KubeProxy | Serving::None => None,
            },
        };
        let nodes = if self.nodes == 1 { "a node".to_owned() } else { format!("{} nodes", self.nodes) };
        println!("starting a control plane and {nodes}");
        let cluster = Cluster::named(PREFIX, &options)?;
        println!("{}", cluster.kubectl().run(&["get", "nodes", "--output", "wide"])?);
        println!("{} is up after {} s. To work with it:", cluster.name(), started.elapsed().as_secs());
        let this = if others {
            format!("cargo xtask cluster --cluster {}", cluster.name())
        } else {
            "cargo xtask cluster".into()
        };
        println!("  {this} kubectl get pods --all-namespaces");
        println!("  {this} kubectl run web --image {} -- --name web tcp/80", mesh_tests::cluster::PROGRAMS);
        println!("  {this} enter node-1 -- ctr --namespace k8s.io containers list");
        if options.mesh.is_some() {
            println!("  {this} kubectl --namespace {NAMESPACE} exec daemonset/mesh -- /mesh service list");
        }
        println!("  {this} down");
        cluster.keep()
    }
}
