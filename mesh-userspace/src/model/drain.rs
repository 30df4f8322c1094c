//! What becomes of open connections to an endpoint that is removed (SEMANTICS 31).

use mesh_common::address::Protocol;
use std::fmt;
use std::time::Duration;

/// What the owner of a Service asks for. An endpoint that is terminating is not removed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Drain {
    /// The protocol's default: TCP is kept, UDP is ended.
    #[default]
    ByProtocol,
    /// Kept until they end.
    Keep,
    /// Ended at once.
    End,
    /// Ended so long after the endpoint was removed, a second to a day.
    EndAfter(Duration),
}

impl Drain {
    /// This, or else the other where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::ByProtocol { other } else { self }
    }

    /// How long after the endpoint was removed sockets of `protocol` are ended: zero for at once, `None` for never.
    pub fn ends_after(self, protocol: Protocol) -> Option<Duration> {
        match self {
            Self::ByProtocol => (protocol == Protocol::Udp).then_some(Duration::ZERO),
            Self::Keep => None,
            Self::End => Some(Duration::ZERO),
            Self::EndAfter(grace) => Some(grace),
        }
    }
}

impl fmt::Display for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByProtocol => f.write_str("TCP kept, UDP ended"),
            Self::Keep => f.write_str("Keep"),
            Self::End => f.write_str("End"),
            Self::EndAfter(grace) => write!(f, "End after {} s", grace.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s31_the_default_is_by_protocol_and_anything_else_is_for_both() {
        let both = |drain: Drain| [Protocol::Tcp, Protocol::Udp].map(|protocol| drain.ends_after(protocol));
        let (grace, at_once) = (Some(Duration::from_secs(30)), Some(Duration::ZERO));
        assert_eq!(both(Drain::ByProtocol), [None, at_once]);
        assert_eq!(both(Drain::Keep), [None, None]);
        assert_eq!(both(Drain::End), [at_once, at_once]);
        assert_eq!(both(Drain::EndAfter(Duration::from_secs(30))), [grace, grace]);
        assert_eq!(Drain::Keep.or(Drain::End), Drain::Keep);
        assert_eq!(Drain::ByProtocol.or(Drain::End), Drain::End);
    }
}
