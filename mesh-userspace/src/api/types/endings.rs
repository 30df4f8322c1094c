//! When open connections of a Service are ended.

use crate::model::{self, Drain};
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
}

impl Endings {
    /// What holds for a Service that follows this policy.
    pub fn of(service: &model::Service, policy: Option<&model::Policy>) -> Self {
        let asked = policy.map(|policy| policy.drain).unwrap_or_default();
        Self { drain: words(service.drain.or(asked)) }
    }
}

impl From<&model::Policy> for Endings {
    fn from(policy: &model::Policy) -> Self {
        Self { drain: words(policy.drain) }
    }
}

impl From<plan::Endings> for Endings {
    fn from(endings: plan::Endings) -> Self {
        let after = |grace: Duration| if grace.is_zero() { Drain::End } else { Drain::EndAfter(grace) };
        Self { drain: words(endings.gone.map_or(Drain::Keep, after)) }
    }
}

fn words(drain: Drain) -> Option<String> {
    (drain != Drain::default()).then(|| drain.to_string())
}
