//! When open connections of a Service are ended.

use crate::model::{self, Drain, Lifetime};
use crate::plan;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a policy asks for, or what holds for a Service or one of its ports.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endings {
    /// What becomes of connections to a removed endpoint: `Keep`, `End` or `End after 30 s`; absent for the protocol's
    /// default: TCP kept, UDP ended.
    pub drain: Option<String>,
    /// After how many seconds without data a TCP connection is ended; absent for never.
    pub idle_timeout_seconds: Option<u64>,
    /// How many seconds after connect() a TCP connection is ended; absent for never.
    pub max_duration_seconds: Option<u64>,
}

impl Endings {
    /// What holds for a Service that follows this policy.
    pub fn of(service: &model::Service, policy: Option<&model::Policy>) -> Self {
        let asked = policy.map(|policy| policy.drain).unwrap_or_default();
        Self { drain: words(service.drain.or(asked)), ..policy.map(Self::from).unwrap_or_default() }
    }
}

impl From<&model::Policy> for Endings {
    fn from(policy: &model::Policy) -> Self {
        Self { drain: words(policy.drain), ..Self::from(policy.lifetime) }
    }
}

impl From<Lifetime> for Endings {
    fn from(Lifetime { idle, longest }: Lifetime) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Self { drain: None, idle_timeout_seconds: seconds(idle), max_duration_seconds: seconds(longest) }
    }
}

impl From<plan::Endings> for Endings {
    fn from(endings: plan::Endings) -> Self {
        let after = |grace: Duration| if grace.is_zero() { Drain::End } else { Drain::EndAfter(grace) };
        let lifetime = Lifetime { idle: endings.idle, longest: endings.longest };
        Self { drain: words(endings.gone.map_or(Drain::Keep, after)), ..Self::from(lifetime) }
    }
}

fn words(drain: Drain) -> Option<String> {
    (drain != Drain::default()).then(|| drain.to_string())
}
