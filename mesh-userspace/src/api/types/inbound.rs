//! Limits at backends: what arrives at pods of the agent's node, from wherever.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits at this node's backends, all together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundStatus {
    /// Backends whose limit is in force at their pod's interface.
    pub in_force: u64,
    /// How the programs are attached to interfaces: `tcx` (by links) or `clsact` (by filters); absent before the first limit, and
    /// where the kernel does not take them.
    pub attached_by: Option<String>,
    /// Interfaces with the programs.
    pub interfaces: u64,
    /// Backends with a limit that is not in force: their pod was not found at any interface of the node.
    pub missing: Vec<String>,
    /// Backends with a limit for which there is no room.
    pub left_out: u64,
    /// Connections that the last recount found to be counted.
    pub connections: u64,
    /// Slots that recounts gave back since the agent started: the connection's socket was gone, and no packet had said so.
    pub given_back: u64,
    /// Counts that two recounts in a row did not agree with, and that could not be set right: connections came in between.
    pub drifted: u64,
    /// Counts that were set right since the agent started.
    pub repaired: u64,
    /// Packets that were refused, reset or dropped at these interfaces since the maps were made, by the name of the reason. Every
    /// reason is listed.
    pub packets: BTreeMap<String, u64>,
}

/// What is counted at one backend's own interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundCounts {
    /// Connections open now, from wherever.
    pub active: u64,
    /// Most of them at once; absent for no limit.
    pub max_connections: Option<u64>,
    /// Whether the limit counts what it would refuse, and refuses nothing.
    pub observe: bool,
    /// Connections that took a slot.
    pub opened: u64,
    /// SYNs that were refused because no slot was free; in mode Observe those that would have been.
    pub refused: u64,
    /// Connections that were reset at the end of their handshake, because another had taken the last slot meanwhile.
    pub reset: u64,
}
