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
//! The programs are built from Go modules: `cargo xtask components`. `MESH_COMPONENTS` names another folder with them.

mod api_server;
mod components;
mod daemon;
mod etcd;
mod kubeconfig;
mod kubectl;
mod pki;
mod place;
mod users;

pub use api_server::{ApiServer, SERVICE_RANGES};
pub use components::Components;
pub use daemon::Daemon;
pub use etcd::Etcd;
pub use kubectl::Kubectl;
pub use place::Place;
