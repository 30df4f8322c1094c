//! Real Kubernetes programs in a world's network namespaces.
//!
//! ```no_run
//! use mesh_tests::{cluster::Api, manifest, world::World};
//!
//! fn the_agent_follows_the_api() -> anyhow::Result<()> {
//!     let world = World::new()?;
//!     let api = Api::start(&world)?;
//!     api.apply(&manifest::service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
//!     world.agent().follow(api.kubeconfig());
//!     world.agent().start()?;
//!     api.server().kill()?;
//!     api.server().start()?;
//!     api.wait_ready()
//! }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `api` | an API server over an etcd: started, killed, paused, wiped |
//! | [`objects`] | objects put into it, and taken out |
//! | [`inside`] | asynchronous work in a network namespace |
//! | [`server`] | a program that is killed, paused and started again |
//! | [`components`] | where the programs are |
//! | `pki` | certificates and keys |

mod api;
pub mod components;
pub mod inside;
pub mod objects;
mod pki;
pub mod server;

pub use api::Api;
pub use server::Server;
