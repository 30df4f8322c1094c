//! What came of the limits at backends, for people.

use crate::datapath::TcAttach;
use crate::plan::BackendKey;
use std::collections::BTreeMap;
use std::time::Instant;

/// What came of them.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Backends in the maps.
    pub backends: u64,
    /// Backends whose limit is in force.
    pub in_force: usize,
    /// How the programs are attached to interfaces; `None` where the kernel does not take them.
    pub attached_by: Option<TcAttach>,
    /// Interfaces with the programs.
    pub interfaces: usize,
    /// Backends whose pod was not found at any interface of the node, and since when.
    pub missing: BTreeMap<BackendKey, Instant>,
    /// Backends for which there is no room.
    pub left_out: usize,
    /// Connections, and the FINs of half-closed ones, in the maps at the last recount.
    pub records: u64,
    /// Connections counted at the last recount.
    pub connections: u64,
    /// Slots given back by recounts: of connections that ended without a packet.
    pub given_back: u64,
    /// Counts that two recounts in a row found to be off by the same amount, and that could not be set right: connections came
    /// in between.
    pub drifted: usize,
    /// Counts that were set right, each time: nothing had come since the recount before.
    pub repaired: u64,
    /// What failed last, in words.
    pub errors: Vec<String>,
}
