//! What a running agent answers, over HTTP on its unix socket.
//!
//! ```text
//! cli -> client -> (unix socket) -> server -> query -> the task that owns the state -> answer -> types
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`types`] | the answers, as JSON; `docs/api.md` names every key |
//! | [`query`] | what the server asks the owner of the state |
//! | [`answer`] | the answers, built from what the owner owns |
//! | [`server`] | the agent's side of the socket |
//! | [`probes`] | health and metrics, for load balancers, the kubelet and Prometheus, over TCP, too |
//! | [`health_checks`] | `healthCheckNodePort`s of Services, for load balancers |
//! | [`client`] | the command line's side of the socket |

pub mod answer;
pub mod client;
pub mod health_checks;
pub mod probes;
pub mod query;
pub mod server;
pub mod types;

pub use client::Client;
pub use query::{Queries, Query};
