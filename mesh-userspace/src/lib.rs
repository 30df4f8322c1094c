//! The agent and the command line of mesh.
//!
//! ```text
//! source -> model -> state -> plan -> maps -> reconcile        datapath (load, attach, pin)        cli, api, metrics
//! ```
//!
//! `source` knows Kubernetes and files and nothing of BPF. `plan` is pure. `datapath` and `maps` know BPF and nothing
//! of Kubernetes. One task ([`agent`]) owns the cluster state.

pub mod agent;
pub mod api;
pub mod bpf;
pub mod cli;
pub mod config;
pub mod crd;
pub mod datapath;
pub mod doctor;
pub mod inbound;
pub mod maps;
pub mod metrics;
pub mod model;
mod netlink;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod sockets;
pub mod source;
pub mod state;
