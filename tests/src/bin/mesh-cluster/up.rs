//! `mesh-cluster up`: starts a cluster, says how to work with it, and leaves it.

use crate::PREFIX;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use mesh_tests::cluster::{Cluster, Mesh, Options, Standing};
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
        let up: Vec<_> = Standing::all(PREFIX).iter().map(|one| one.name().to_owned()).collect();
        ensure!(up.is_empty(), "{} is up already: `cargo xtask cluster down` removes it", up.join(", "));
        let started = Instant::now();
        let options = Options {
            nodes: self.nodes,
            kube_proxy: matches!(self.proxy, Serving::KubeProxy | Serving::Both),
            mesh: match self.proxy {
                Serving::Mesh | Serving::Both => Some(Mesh::of_this_workspace()?),
                Serving::KubeProxy | Serving::None => None,
            },
        };
        println!("starting a control plane and {} nodes", self.nodes);
        let cluster = Cluster::named(PREFIX, &options)?;
        println!("{}", cluster.kubectl().run(&["get", "nodes", "--output", "wide"])?);
        println!("{} is up after {} s. To work with it:", cluster.name(), started.elapsed().as_secs());
        println!("  cargo xtask cluster kubectl get pods --all-namespaces");
        println!("  cargo xtask cluster kubectl run web --image {}", mesh_tests::cluster::PROGRAMS);
        println!("  cargo xtask cluster enter node-1 -- ctr --namespace k8s.io containers list");
        println!("  cargo xtask cluster down");
        cluster.keep()
    }
}
