//! The world that end-to-end tests and the lab share.
//!
//! A test makes a [`World`](world::World): pods are network namespaces with cgroups of their own, servers and clients
//! are real processes in them, and the agent is the real program. Tests run side by side, need root, and leave nothing
//! behind. Nothing is mocked, so what a test sees is what a client sees.
//!
//! ```no_run
//! use mesh_tests::{echo::Listen, manifest, wait::wait_for, world::World};
//! use std::io::ErrorKind;
//!
//! fn s10_a_service_without_endpoints_refuses() -> anyhow::Result<()> {
//!     let world = World::new()?;
//!     let web = world.backend("web-1", &[Listen::tcp(8080)])?;
//!     world.apply(&manifest::service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
//!     world.apply(&manifest::slice("web").tcp(8080).endpoint(&web).yaml())?;
//!     world.agent().start()?;
//!
//!     let client = world.client("client")?;
//!     let frontend: std::net::SocketAddr = "10.96.0.10:80".parse()?;
//!     let held = client.connect(frontend)?;
//!     assert_eq!(held.peer()?, frontend);
//!     assert_eq!(held.server()?, "web-1");
//!     assert_eq!(client.tally(frontend, 50)?.answered(), 50);
//!
//!     world.apply(&manifest::slice("web").tcp(8080).yaml())?;
//!     wait_for("the Service to refuse", || match client.connect(frontend) {
//!         Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
//!         other => Err(format!("{other:?}")),
//!     })
//! }
//! ```
//!
//! Many connections at once: [`Client::connect_many`](client::Client::connect_many) to hold them one by one, and
//! [`Storm`](storm::Storm) for processes that race, are killed, and are counted exactly. Deployments instead of single
//! pods: [`ControlPlane`](control_plane::ControlPlane). Kubernetes itself: [`cluster`].
//!
//! Other clients: [`Pod::python`](world::Pod::python), [`Pod::curl`](world::Pod::curl), and C by
//! [`Pod::compile`](world::Pod::compile); anything else by [`Pod::command`](world::Pod::command). Set `MESH_BIN` to test
//! another build of the agent.

pub mod client;
pub mod cluster;
pub mod conformance;
pub mod control_plane;
pub mod echo;
pub mod expect;
pub mod limits;
pub mod manifest;
pub mod meaning;
pub mod object;
pub mod programs;
pub mod storm;
pub mod wait;
pub mod world;
