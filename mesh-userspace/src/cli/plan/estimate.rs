//! What changed limits would have done to the connections that are open now.

use crate::api::types::ServiceTable;
use serde::Serialize;

/// How many of the connections that are open now the new limits would have refused. None of them is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// So many would have been refused, about: which came first is not known.
    pub refused: u64,
    /// Of so many that are open.
    pub of: u64,
    /// Whether they would only be counted.
    pub observed: bool,
}

/// What the limits of `after` make of the load of `before`; `None` where no limit is set, or where it is no other.
pub fn estimate(before: &ServiceTable, after: &ServiceTable) -> Option<Estimate> {
    let load = before.load.as_ref()?;
    let limits = |table: &ServiceTable| {
        let each_client = table.traffic.max_connections_per_client;
        ((table.max_connections, table.max_connections_per_backend, each_client), table.traffic.observe)
    };
    if limits(before) == limits(after) || limits(after).0 == (None, None, None) {
        return None;
    }
    let of = load.clients.iter().sum::<u64>();
    // In the order in which the programs ask: each client has what it may have, the Service of that what it may have, and
    // its backends together, since the choice moves on from one that is full.
    let each = after.traffic.max_connections_per_client.unwrap_or(u64::MAX);
    let mut admitted: u64 = load.clients.iter().map(|open| (*open).min(each)).sum();
    admitted = admitted.min(after.max_connections.unwrap_or(u64::MAX));
    if let Some(each) = after.max_connections_per_backend {
        let backends: usize = after.ports.iter().map(|port| port.backends.len()).sum();
        admitted = admitted.min(each.saturating_mul(backends as u64));
    }
    Some(Estimate { refused: of - admitted, of, observed: after.traffic.observe })
}

/// How many of the connections that are open now to backends on the agent's node, from wherever, the new limit there would
/// have refused. None of them is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundEstimate {
    /// So many would have been refused.
    pub refused: u64,
    /// Of so many that are open.
    pub of: u64,
    /// Whether they would only be counted.
    pub observed: bool,
    /// Whether there may be more of both: a backend that has had no limit counts those only that come through Services from
    /// clients on its node.
    pub at_least: bool,
}

/// What `maxInboundConnectionsPerBackend` of `after` makes of the load of `before`; `None` where it is not set, or no other, or
/// where there is no backend on the agent's node.
pub fn inbound_estimate(before: &ServiceTable, after: &ServiceTable) -> Option<InboundEstimate> {
    let load = before.load.as_ref().filter(|load| !load.backends.is_empty())?;
    let limit = |table: &ServiceTable| (table.traffic.max_inbound_connections_per_backend, table.traffic.observe);
    let (most, observed) = limit(after);
    let most = most.filter(|_| limit(before) != limit(after))?;
    Some(InboundEstimate {
        refused: load.backends.iter().map(|backend| backend.open.saturating_sub(most)).sum(),
        of: load.backends.iter().map(|backend| backend.open).sum(),
        observed,
        at_least: load.backends.iter().any(|backend| !backend.counted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{BackendLoad, Endings, Load, PortTable, ServiceName, TrafficLimits};

    fn table(limits: [Option<u64>; 3], observe: bool) -> ServiceTable {
        let backend = |last: u8| (std::net::Ipv4Addr::new(10, 0, 0, last), 8080).into();
        let port = PortTable {
            protocol: "TCP".into(),
            frontends: vec![],
            algorithm: "Random".into(),
            affinity_timeout_seconds: None,
            backends: vec![backend(1), backend(2)],
            slots: 2,
            endings: Endings::default(),
        };
        let [max_connections, max_connections_per_backend, max_connections_per_client] = limits;
        ServiceTable {
            service: ServiceName { namespace: "shop".into(), name: "cart".into() },
            addresses: vec![],
            ports: vec![port],
            kept: vec![],
            max_connections,
            max_connections_per_backend,
            traffic: TrafficLimits { max_connections_per_client, observe, ..TrafficLimits::default() },
            load: Some(Load { clients: vec![30, 22, 10], backends: vec![] }),
        }
    }

    #[test]
    fn each_limit_is_applied_to_the_present_load() {
        let unlimited = table([None; 3], false);
        for (limits, refused) in [
            ([Some(48), None, None], 14),
            ([Some(62), None, None], 0),
            ([None, Some(20), None], 22),
            ([None, None, Some(20)], 12),
            ([Some(45), Some(40), Some(20)], 17),
            ([Some(0), None, None], 62),
        ] {
            let found = estimate(&unlimited, &table(limits, true)).unwrap();
            assert_eq!(found, Estimate { refused, of: 62, observed: true }, "{limits:?}");
        }
    }

    #[test]
    fn nothing_is_said_where_no_limit_is_changed_or_no_load_is_known() {
        let limited = table([Some(3), None, None], false);
        assert_eq!(estimate(&limited, &limited), None);
        assert_eq!(estimate(&limited, &table([None; 3], false)), None);
        assert_eq!(estimate(&ServiceTable { load: None, ..table([None; 3], false) }, &limited), None);
    }

    #[test]
    fn each_backend_on_the_node_refuses_what_is_above_its_limit() {
        let table = |most, observe, counted| {
            let backends = [40, 22, 0].map(|open| BackendLoad { open, counted }).to_vec();
            let traffic =
                TrafficLimits { max_inbound_connections_per_backend: most, observe, ..TrafficLimits::default() };
            ServiceTable { traffic, load: Some(Load { clients: vec![], backends }), ..table([None; 3], false) }
        };
        let (unlimited, limited) = (table(None, false, false), table(Some(30), false, true));
        let of = |refused, observed, at_least| Some(InboundEstimate { refused, of: 62, observed, at_least });
        for (before, after, expected) in [
            (&unlimited, table(Some(24), false, false), of(16, false, true)),
            (&limited, table(Some(20), false, true), of(22, false, false)),
            (&limited, table(Some(40), false, true), of(0, false, false)),
            (&limited, table(Some(30), true, true), of(10, true, false)),
            (&limited, table(Some(30), false, true), None),
            (&limited, table(None, false, true), None),
            (&ServiceTable { load: Some(Load::default()), ..unlimited.clone() }, table(Some(1), false, true), None),
        ] {
            assert_eq!(inbound_estimate(before, &after), expected, "{:?}", after.traffic);
        }
        assert_eq!(estimate(&unlimited, &limited), None, "it is no limit of clients here");
    }
}
