//! The agent: one task that owns the cluster state, wired to its sources, its maps and its socket.

use crate::config::{AgentConfig, DatapathConfig};

/// Runs until SIGTERM or SIGINT; the data path stays in place.
pub fn run(config: &AgentConfig) -> anyhow::Result<()> {
    anyhow::bail!("this build has no agent for {}", config.node_name)
}

/// Takes the data path away: links, then pins.
pub fn unload(config: &DatapathConfig) -> anyhow::Result<()> {
    anyhow::bail!("this build has no data path to take from {}", config.pins.display())
}
