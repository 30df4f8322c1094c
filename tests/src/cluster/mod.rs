//! Kubernetes itself, on this machine: its real programs, in namespaces of their own.
//!
//! [`ApiServer`] is etcd and kube-apiserver beside a [`World`](crate::world::World), for tests of what the agent makes of
//! objects, and of an API server that fails. It has no controllers and no scheduler: what those would make (endpoint
//! slices, Pods' status), a test makes.
//!
//! ```no_run
//! use mesh_tests::{cluster::ApiServer, manifest, world::World};
//!
//! fn the_agent_serves_while_the_api_server_is_away() -> anyhow::Result<()> {
//!     let world = World::new()?;
//!     let api = ApiServer::beside(&world)?;
//!     api.apply(&manifest::service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
//!     // The agent runs in the world's node, which reaches `api.url()`; its file of access is `api.kubeconfig()`.
//!     api.server().kill()?;
//!     api.server().start()?;
//!     api.wait_ready()
//! }
//! ```
//!
//! [`Cluster`] is all of it: controllers, scheduler, and nodes with kubelet, containerd and kube-proxy, each node in
//! namespaces and a cgroup of its own, both families of addresses, CoreDNS, and the tests' own programs as an image.
//!
//! ```no_run
//! use mesh_tests::cluster::{Cluster, Options, PROGRAMS};
//!
//! fn a_pod_asks_a_service() -> anyhow::Result<()> {
//!     let cluster = Cluster::start(&Options::default())?;
//!     cluster.apply(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: client}}, \
//!         spec: {{containers: [{{name: client, image: {PROGRAMS}, args: [--name, client, tcp/80]}}]}}}}"))?;
//!     cluster.wait_pods("default")?;
//!     let client = cluster.pod("client").client()?;
//!     client.connect("10.96.0.1:443".parse::<std::net::SocketAddr>()?)?;
//!     cluster.node(1).enter(&["nft", "list", "ruleset"]).map(drop)
//! }
//! ```
//!
//! It takes about 15 s and 1 GB to have one: share it among the tests of a test program, by namespaces of their own.
//! [`Standing`] is a cluster that `cargo xtask cluster up` has left.
//!
//! The programs are built from Go modules: `cargo xtask components`. `MESH_COMPONENTS` names another folder with them.

mod addresses;
mod api_server;
mod components;
mod control_plane;
mod daemon;
mod etcd;
mod helm;
mod images;
pub mod inside;
mod istio;
mod kubeconfig;
mod kubectl;
mod mesh;
mod node;
mod pki;
mod place;
mod pod;
mod settings;
mod shared;
mod standing;
mod switch;
mod users;
mod whole;

pub use addresses::{DNS, POD_RANGES, machine, pods};
pub use api_server::{ApiServer, SERVICE_RANGES};
pub use components::Components;
pub use control_plane::ControlPlane;
pub use daemon::Daemon;
pub use etcd::Etcd;
pub use helm::Helm;
pub use images::PROGRAMS;
pub use istio::destination_rules;
pub use kubectl::Kubectl;
pub use mesh::{Mesh, NAMESPACE};
pub use node::Node;
pub use place::Place;
pub use pod::Pod;
pub use standing::Standing;
pub use whole::{Cluster, Options};
