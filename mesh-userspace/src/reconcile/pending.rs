//! A Service that is not yet as it should be.

use crate::maps::MapError;
use crate::model::ServiceKey;
use crate::plan::{DesiredService, Refusal};
use mesh_common::address::Address;
use mesh_common::tables::FrontendKey;
use std::time::{Duration, Instant};

/// The first wait after a failure; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(20);

/// The longest wait between two tries.
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// What a Service should be, and how far that is.
#[derive(Debug)]
pub struct Pending {
    /// What it should be; `None` for one that should not be.
    pub desired: Option<DesiredService>,
    /// How far that is.
    pub state: State,
}

/// How far a Service is from what it should be.
#[derive(Debug)]
pub enum State {
    /// The next `sync` brings it in line.
    Due,
    /// What leads clients to it waits for a grace period, or until others give up what it needs.
    Waiting {
        /// What others hold; empty when it waits for the grace period alone.
        held: Vec<Problem>,
    },
    /// Not all of it worked. What did is in force.
    Failed {
        /// What did not, and why.
        problems: Vec<Problem>,
        /// How often in a row.
        attempts: u32,
        /// When it is tried again.
        retry_at: Instant,
    },
}

/// Why a part of a Service is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A table is full.
    #[error(transparent)]
    Refused(Refusal),
    /// The maps could not be changed.
    #[error(transparent)]
    Map(MapError),
    /// Another port still has what clients would dial.
    #[error("{key} still belongs to {}", Holder(.holder.as_ref()))]
    HeldFrontend {
        /// What clients would dial.
        key: FrontendKey,
        /// The Service that has it.
        holder: Option<ServiceKey>,
    },
    /// Another Service still has the address.
    #[error("{address} still belongs to {}", Holder(.holder.as_ref()))]
    HeldAddress {
        /// The address.
        address: Address,
        /// The Service that has it.
        holder: Option<ServiceKey>,
    },
}

/// A Service, or none that is known.
struct Holder<'a>(Option<&'a ServiceKey>);

impl std::fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(key) => write!(f, "Service {key}"),
            None => f.write_str("what an earlier agent left"),
        }
    }
}

impl Problem {
    /// What to do about it.
    pub fn action(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.action(),
            Self::Map(_) => "it is tried again; if it does not go away, see `mesh doctor`".to_owned(),
            Self::HeldFrontend { .. } | Self::HeldAddress { .. } => {
                "it follows as soon as the other gives it up".to_owned()
            }
        }
    }
}

impl Pending {
    /// Whether it is to be tried.
    pub fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Due => true,
            State::Waiting { .. } => false,
            State::Failed { retry_at, .. } => retry_at <= now,
        }
    }

    /// When it is tried again after a failure.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Failed { retry_at, .. } => Some(retry_at),
            _ => None,
        }
    }

    /// Why it is not in force.
    pub fn problems(&self) -> &[Problem] {
        match &self.state {
            State::Due => &[],
            State::Waiting { held } => held,
            State::Failed { problems, .. } => problems,
        }
    }

    pub(super) fn attempts(&self) -> u32 {
        match self.state {
            State::Failed { attempts, .. } => attempts,
            _ => 0,
        }
    }
}

/// The wait after `attempts` failures in a row.
pub(super) fn backoff(attempts: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(SLOWEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        assert_eq!(backoff(1), FIRST_RETRY);
        assert_eq!(backoff(3), FIRST_RETRY * 4);
        assert_eq!(backoff(u32::MAX), SLOWEST_RETRY);
    }
}
