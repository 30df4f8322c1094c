//! When connections are ended that both their ends would keep, and why.

use std::time::Duration;

/// When the connections of a port are ended. The agent keeps it, not the maps: it is the agent that ends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Endings {
    /// How long after their backend has gone (it is in neither list of its port): zero for at once, `None` for never.
    pub gone: Option<Duration>,
    /// After how long without data in either direction; `None` for never, as always for UDP.
    pub idle: Option<Duration>,
    /// How long after connect(); `None` for never, as always for UDP.
    pub longest: Option<Duration>,
}

impl Endings {
    /// Whether connections whose backend serves are ended, too.
    pub fn has_lifetime(&self) -> bool {
        self.idle.is_some() || self.longest.is_some()
    }
}

/// Why the agent ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its endpoint was removed.
    EndpointRemoved = 0,
    /// No data came or went for too long.
    IdleTimeout = 1,
    /// It was too old.
    MaxDuration = 2,
}

impl Ended {
    /// Every reason, by its number.
    pub const ALL: [Self; 3] = [Self::EndpointRemoved, Self::IdleTimeout, Self::MaxDuration];

    /// The stable name, as the API and the metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointRemoved => "endpoint-removed",
            Self::IdleTimeout => "idle-timeout",
            Self::MaxDuration => "max-duration",
        }
    }
}

/// Connections that were ended, by [`Ended`]'s number.
pub type EndedCounts = [u64; Ended::ALL.len()];
