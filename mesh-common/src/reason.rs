//! Why a connection went where it went, or was refused.
//!
//! To add a refusal, add a variant and its row in [`Reason::ALL`]: it is counted per Service, shown by `mesh status`
//! and worded by `mesh explain` from there.

/// The cause of one choice or one refusal. The number is the column in [`crate::tables::REASON_COUNTS`].
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Chosen by the Service's algorithm. Counted in [`crate::tables::Service::opened`], which the hot path touches anyway.
    Selected = 0,
    /// The first pick was at its limit or ejected, so another backend was chosen.
    Spilled = 1,
    /// A UDP socket that is not connected went on with the backend of its flow.
    FlowKept = 2,
    /// The client went on with the backend that it had before: session affinity.
    Affinity = 3,
    /// Refused: the Service has no eligible endpoint.
    NoBackend = 4,
    /// Refused: the address is a Service's, the port is not.
    NoSuchPort = 5,
    /// Refused: `maxConnections` connections are open.
    ServiceLimit = 6,
    /// Refused: every backend has `maxConnectionsPerBackend` connections open.
    BackendLimit = 7,
    /// Refused: the table of connections is full.
    TableFull = 8,
    /// Refused: other processors won every race for the last slots.
    Contended = 9,
    /// Refused: the tables contradict each other (an index out of range).
    Inconsistent = 10,
    /// Refused: new connections to the Service come faster than `connectionsPerSecond`.
    ServiceRate = 11,
    /// Refused: the client has `maxConnectionsPerClient` connections open.
    ClientLimit = 12,
    /// Refused: the client's new connections come faster than `connectionsPerSecondPerClient`.
    ClientRate = 13,
    /// Let through in mode Observe: it would have been refused by `maxConnections`.
    ObservedServiceLimit = 14,
    /// Let through in mode Observe: it would have been refused by `maxConnectionsPerBackend`.
    ObservedBackendLimit = 15,
    /// Let through in mode Observe: it would have been refused by `connectionsPerSecond`.
    ObservedServiceRate = 16,
    /// Let through in mode Observe: it would have been refused by `maxConnectionsPerClient`.
    ObservedClientLimit = 17,
    /// Let through in mode Observe: it would have been refused by `connectionsPerSecondPerClient`.
    ObservedClientRate = 18,
    /// Refused: the client is in none of `loadBalancerSourceRanges`.
    SourceRange = 19,
    /// No connection's fate: a backend was ejected after failures in a row. Counted in
    /// [`crate::tables::Outlier::ejections`].
    Ejected = 20,
    /// Refused: the client has `maxFlowsPerClient` flows.
    FlowLimit = 21,
    /// Let through in mode Observe: it would have been refused by `maxFlowsPerClient`.
    ObservedFlowLimit = 22,
}

impl Reason {
    /// Columns reserved per Service; a power of two, with room for what comes.
    pub const COLUMNS: u32 = 32;

    /// What a Service's `opened` counts besides `Selected`.
    pub const OPENED_OTHERWISE: [Self; 2] = [Self::Spilled, Self::Affinity];

    /// Every reason in the order of its number.
    pub const ALL: [Self; 23] = [
        Self::Selected,
        Self::Spilled,
        Self::FlowKept,
        Self::Affinity,
        Self::NoBackend,
        Self::NoSuchPort,
        Self::ServiceLimit,
        Self::BackendLimit,
        Self::TableFull,
        Self::Contended,
        Self::Inconsistent,
        Self::ServiceRate,
        Self::ClientLimit,
        Self::ClientRate,
        Self::ObservedServiceLimit,
        Self::ObservedBackendLimit,
        Self::ObservedServiceRate,
        Self::ObservedClientLimit,
        Self::ObservedClientRate,
        Self::SourceRange,
        Self::Ejected,
        Self::FlowLimit,
        Self::ObservedFlowLimit,
    ];

    /// From the number in an event or a counter's column.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether the client was refused.
    #[inline(always)]
    pub const fn is_refusal(self) -> bool {
        self as u8 >= Self::NoBackend as u8 && !self.is_observation() && self as u8 != Self::Ejected as u8
    }

    /// Whether a limit in mode Observe let the client through.
    #[inline(always)]
    pub const fn is_observation(self) -> bool {
        (self as u8 >= Self::ObservedServiceLimit as u8 && self as u8 <= Self::ObservedClientRate as u8)
            || self as u8 == Self::ObservedFlowLimit as u8
    }

    /// What a refusal by a limit counts as in mode Observe; `None` for what no limit refused.
    #[inline(always)]
    pub const fn observed(self) -> Option<Self> {
        match self {
            Self::ServiceLimit => Some(Self::ObservedServiceLimit),
            Self::BackendLimit => Some(Self::ObservedBackendLimit),
            Self::ServiceRate => Some(Self::ObservedServiceRate),
            Self::ClientLimit => Some(Self::ObservedClientLimit),
            Self::ClientRate => Some(Self::ObservedClientRate),
            Self::FlowLimit => Some(Self::ObservedFlowLimit),
            _ => None,
        }
    }

    /// The stable name, as in JSON keys and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::Spilled => "spilled",
            Self::FlowKept => "flow-kept",
            Self::Affinity => "affinity",
            Self::NoBackend => "no-backend",
            Self::NoSuchPort => "no-such-port",
            Self::ServiceLimit => "service-limit",
            Self::BackendLimit => "backend-limit",
            Self::TableFull => "table-full",
            Self::Contended => "contended",
            Self::Inconsistent => "inconsistent",
            Self::ServiceRate => "service-rate",
            Self::ClientLimit => "client-limit",
            Self::ClientRate => "client-rate",
            Self::ObservedServiceLimit => "observed-service-limit",
            Self::ObservedBackendLimit => "observed-backend-limit",
            Self::ObservedServiceRate => "observed-service-rate",
            Self::ObservedClientLimit => "observed-client-limit",
            Self::ObservedClientRate => "observed-client-rate",
            Self::SourceRange => "source-range",
            Self::Ejected => "ejected",
            Self::FlowLimit => "flow-limit",
            Self::ObservedFlowLimit => "observed-flow-limit",
        }
    }

    /// The sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Selected => "chosen by the Service's algorithm",
            Self::Spilled => "the first pick was at its limit or ejected; another backend was chosen",
            Self::FlowKept => "the socket's UDP flow went on with its backend",
            Self::Affinity => "the client kept its backend (sessionAffinity: ClientIP)",
            Self::NoBackend => "refused: the Service has no eligible endpoint",
            Self::NoSuchPort => "refused: the Service does not list this port",
            Self::ServiceLimit => "refused: the Service is at maxConnections",
            Self::BackendLimit => "refused: every backend is at maxConnectionsPerBackend",
            Self::TableFull => "refused: the table of connections, of clients, or of flows is full",
            Self::Contended => "refused: other processors won every race for the last slots",
            Self::Inconsistent => "refused: the tables contradict each other",
            Self::ServiceRate => "refused: the Service is at connectionsPerSecond",
            Self::ClientLimit => "refused: the client is at maxConnectionsPerClient",
            Self::ClientRate => "refused: the client is at connectionsPerSecondPerClient",
            Self::ObservedServiceLimit => "observed only: the Service is at maxConnections",
            Self::ObservedBackendLimit => "observed only: every backend is at maxConnectionsPerBackend",
            Self::ObservedServiceRate => "observed only: the Service is at connectionsPerSecond",
            Self::ObservedClientLimit => "observed only: the client is at maxConnectionsPerClient",
            Self::ObservedClientRate => "observed only: the client is at connectionsPerSecondPerClient",
            Self::SourceRange => "refused: the client is in none of loadBalancerSourceRanges",
            Self::FlowLimit => "refused: the client is at maxFlowsPerClient",
            Self::ObservedFlowLimit => "observed only: the client is at maxFlowsPerClient",
            Self::Ejected => "the backend was ejected after failures in a row",
        }
    }
}

const _: () = assert!(Reason::ALL.len() <= Reason::COLUMNS as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_positions_and_names_are_distinct() {
        for (position, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
            assert_eq!(Reason::from_number(reason as u8), Some(reason));
            assert_eq!(reason.is_refusal(), reason.sentence().starts_with("refused"));
            let observed = reason.observed().map(Reason::sentence);
            assert!(observed.is_none_or(|text| text.replace("observed only", "refused") == reason.sentence()));
        }
        assert_eq!(Reason::ALL.iter().map(|r| r.name()).collect::<HashSet<_>>().len(), Reason::ALL.len());
        assert_eq!(Reason::from_number(200), None);
    }
}
