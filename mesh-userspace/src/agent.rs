//! The agent: one task that owns the cluster state, wired to its sources, its maps and its socket.

use crate::config::AgentConfig;

/// Runs until SIGTERM or SIGINT; the data path stays in place.
pub fn run(config: &AgentConfig) -> anyhow::Result<()> {
    anyhow::bail!("this build has no agent for {}", config.node_name)
}
