//! Two states of the maps, Service by Service: what is added, changed and removed.

use super::estimate::{Estimate, InboundEstimate, estimate, inbound_estimate};
use crate::api::types::{PortTable, ServiceName, ServiceTable};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What becomes of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is new.
    Add,
    /// It stays and is another.
    Change,
    /// It goes.
    Remove,
}

/// What becomes of one Service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChange {
    /// The Service.
    pub service: ServiceName,
    /// What becomes of it.
    pub action: Action,
    /// Each thing that differs.
    pub differences: Vec<Difference>,
    /// What changed limits would have done to the connections that are open now; absent where limits stay, or there are
    /// none.
    pub estimate: Option<Estimate>,
    /// What another `maxInboundConnectionsPerBackend` would have done to those to backends on the agent's node; absent likewise.
    pub inbound_estimate: Option<InboundEstimate>,
}

/// One thing that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What becomes of it.
    pub action: Action,
    /// The frontend that it belongs to; absent for what is the whole Service's.
    pub frontend: Option<String>,
    /// What it is: `address`, `frontend`, `backend`, `kept`, `algorithm`, `affinityTimeoutSeconds`, `drain`,
    /// `idleTimeoutSeconds`, `maxDurationSeconds`, `maxConnections`, `maxConnectionsPerBackend`, `maxConnectionsPerClient`,
    /// `maxInboundConnectionsPerBackend`, `connectionsPerSecond`, `connectionBurst`, `connectionsPerSecondPerClient`,
    /// `connectionBurstPerClient`, `maxFlowsPerClient`, `flowIdleSeconds`, `mode`.
    pub field: &'static str,
    /// What it is in the maps; absent for what is added.
    pub before: Option<String>,
    /// What it will be; absent for what is removed.
    pub after: Option<String>,
}

/// How full a map is before and after.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapChange {
    /// The map's name.
    pub name: &'static str,
    /// Entries before.
    pub before: usize,
    /// Entries after.
    pub after: usize,
}

/// What leads from one state to another, in the order of the names.
pub fn compare(before: &[ServiceTable], after: &[ServiceTable]) -> Vec<ServiceChange> {
    let index = |tables: &[ServiceTable]| -> BTreeMap<ServiceName, ServiceTable> {
        tables.iter().map(|table| (table.service.clone(), table.clone())).collect()
    };
    let (before, after) = (index(before), index(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let differences = differences(before.get(name), after.get(name));
            let action = match (before.contains_key(name), after.contains_key(name)) {
                (false, _) => Action::Add,
                (_, false) => Action::Remove,
                _ if differences.is_empty() => return None,
                _ => Action::Change,
            };
            let both = before.get(name).zip(after.get(name));
            Some(ServiceChange {
                service: name.clone(),
                action,
                differences,
                estimate: both.and_then(|(before, after)| estimate(before, after)),
                inbound_estimate: both.and_then(|(before, after)| inbound_estimate(before, after)),
            })
        })
        .collect()
}

/// How full the maps are, before and after. SERVICES is counted without accounts that are no port's.
pub fn maps(before: &[ServiceTable], after: &[ServiceTable]) -> Vec<MapChange> {
    let ports = |tables: &[ServiceTable], count: fn(&PortTable) -> usize| -> usize {
        tables.iter().flat_map(|table| &table.ports).map(count).sum()
    };
    let change =
        |name, count: &dyn Fn(&[ServiceTable]) -> usize| MapChange { name, before: count(before), after: count(after) };
    vec![
        change("FRONTENDS", &|tables| ports(tables, |port| port.frontends.len())),
        change("ADDRESSES", &|tables| tables.iter().map(|table| table.addresses.len()).sum()),
        change("SERVICES", &|tables| ports(tables, |_| 1)),
        change("SLOTS", &|tables| ports(tables, |port| port.slots)),
        change("BACKENDS", &|tables| tables.iter().map(backends).sum()),
    ]
}

/// Backends of a Service: ports that share one share its entry.
fn backends(table: &ServiceTable) -> usize {
    let in_slots = table.ports.iter().flat_map(|port| port.backends.iter().map(|backend| (&port.protocol, backend)));
    in_slots.collect::<BTreeSet<_>>().len() + table.kept.len()
}

fn differences(before: Option<&ServiceTable>, after: Option<&ServiceTable>) -> Vec<Difference> {
    let mut found = Vec::new();
    let addresses = |table: Option<&ServiceTable>| -> Vec<String> {
        table.iter().flat_map(|table| &table.addresses).map(ToString::to_string).collect()
    };
    sets(None, "address", &addresses(before), &addresses(after), &mut found);
    let kept = |table: Option<&ServiceTable>| -> Vec<String> {
        table.iter().flat_map(|table| &table.kept).map(ToString::to_string).collect()
    };
    sets(None, "kept", &kept(before), &kept(after), &mut found);
    let limit = |table: Option<&ServiceTable>, pick: fn(&ServiceTable) -> Option<u64>| {
        table.and_then(pick).map(|limit| limit.to_string())
    };
    for (field, pick) in [
        ("maxConnections", (|table| table.max_connections) as fn(&ServiceTable) -> Option<u64>),
        ("maxConnectionsPerBackend", |table| table.max_connections_per_backend),
        ("maxConnectionsPerClient", |table| table.traffic.max_connections_per_client),
        ("maxInboundConnectionsPerBackend", |table| table.traffic.max_inbound_connections_per_backend),
        ("connectionsPerSecond", |table| table.traffic.connections_per_second),
        ("connectionBurst", |table| table.traffic.connection_burst),
        ("connectionsPerSecondPerClient", |table| table.traffic.connections_per_second_per_client),
        ("connectionBurstPerClient", |table| table.traffic.connection_burst_per_client),
        ("maxFlowsPerClient", |table| table.traffic.max_flows_per_client),
        ("flowIdleSeconds", |table| table.traffic.flow_idle_seconds),
    ] {
        values(None, field, limit(before, pick), limit(after, pick), &mut found);
    }
    let mode = |table: Option<&ServiceTable>| table.filter(|table| table.traffic.observe).map(|_| "Observe".to_owned());
    values(None, "mode", mode(before), mode(after), &mut found);
    let ports = |table: Option<&ServiceTable>| -> BTreeMap<String, PortTable> {
        table.iter().flat_map(|table| &table.ports).map(|port| (name(port), port.clone())).collect()
    };
    let (before, after) = (ports(before), ports(after));
    for frontend in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        port(frontend, before.get(frontend), after.get(frontend), &mut found);
    }
    found
}

/// A port by what clients dial.
fn name(port: &PortTable) -> String {
    let frontends = port.frontends.iter().map(|frontend| format!("{frontend}/{}", port.protocol));
    frontends.collect::<Vec<_>>().join(",")
}

fn port(frontend: &str, before: Option<&PortTable>, after: Option<&PortTable>, found: &mut Vec<Difference>) {
    let whole = |port: Option<&PortTable>| port.map(|_| frontend.to_owned());
    values(None, "frontend", whole(before), whole(after), found);
    // Of a port that comes or goes only what is out of the ordinary is told.
    let both = before.is_some() && after.is_some();
    let value = |port: Option<&PortTable>, pick: fn(&PortTable) -> String| port.map(pick);
    values(
        Some(frontend),
        "algorithm",
        value(before, |port| port.algorithm.clone()),
        value(after, |port| port.algorithm.clone()),
        found,
    );
    let drain = |port: Option<&PortTable>| port.and_then(|port| port.endings.drain.clone()).filter(|_| both);
    values(Some(frontend), "drain", drain(before), drain(after), found);
    for (field, pick) in [
        ("idleTimeoutSeconds", (|port| port.endings.idle_timeout_seconds) as fn(&PortTable) -> Option<u64>),
        ("maxDurationSeconds", |port| port.endings.max_duration_seconds),
    ] {
        let seconds = |port: Option<&PortTable>| port.and_then(pick).map(|seconds| seconds.to_string());
        values(Some(frontend), field, seconds(before), seconds(after), found);
    }
    let seconds = |port: Option<&PortTable>| port.and_then(|port| port.affinity_timeout_seconds).map(|s| s.to_string());
    values(Some(frontend), "affinityTimeoutSeconds", seconds(before), seconds(after), found);
    let list = |port: Option<&PortTable>, pick: fn(&PortTable) -> &Vec<SocketAddr>| -> Vec<String> {
        port.map(|port| pick(port).iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    sets(Some(frontend), "backend", &list(before, |p| &p.backends), &list(after, |p| &p.backends), found);
}

/// What only one of two lists has.
fn sets(frontend: Option<&str>, field: &'static str, before: &[String], after: &[String], found: &mut Vec<Difference>) {
    for gone in before.iter().filter(|item| !after.contains(item)) {
        values(frontend, field, Some(gone.clone()), None, found);
    }
    for come in after.iter().filter(|item| !before.contains(item)) {
        values(frontend, field, None, Some(come.clone()), found);
    }
}

fn values(
    frontend: Option<&str>,
    field: &'static str,
    before: Option<String>,
    after: Option<String>,
    found: &mut Vec<Difference>,
) {
    let action = match (&before, &after) {
        (None, None) => return,
        (None, Some(_)) => Action::Add,
        (Some(_), None) => Action::Remove,
        (Some(before), Some(after)) if before == after => return,
        _ => Action::Change,
    };
    found.push(Difference { action, frontend: frontend.map(str::to_owned), field, before, after });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Endings, TrafficLimits};
    use proptest::prelude::*;

    fn table(name: u8, backends: BTreeSet<u8>, limit: Option<u64>) -> ServiceTable {
        ServiceTable {
            service: ServiceName { namespace: "shop".into(), name: name.to_string() },
            addresses: vec![[10, 96, 0, name].into()],
            ports: vec![PortTable {
                protocol: "TCP".into(),
                frontends: vec![SocketAddr::from(([10, 96, 0, name], 80))],
                algorithm: "Random".into(),
                affinity_timeout_seconds: None,
                slots: backends.len(),
                endings: Endings::default(),
                backends: backends.into_iter().map(|last| SocketAddr::from(([10, 244, 0, last], 8080))).collect(),
            }],
            kept: vec![],
            max_connections: limit,
            max_connections_per_backend: None,
            traffic: TrafficLimits::default(),
            load: None,
        }
    }

    #[test]
    fn when_connections_end_is_told_of_ports_that_stay() {
        let before = table(1, [1].into(), None);
        let mut after = before.clone();
        let seconds = (Some(60), Some(3_600));
        let drain = Some("End after 30 s".to_owned());
        after.ports[0].endings = Endings { drain, idle_timeout_seconds: seconds.0, max_duration_seconds: seconds.1 };
        let told = |before: &[ServiceTable], after: &[ServiceTable]| -> Vec<String> {
            let differences = compare(before, after).remove(0).differences.into_iter();
            differences.filter(|d| d.frontend.is_some()).map(|d| format!("{} {:?}", d.field, d.after)).collect()
        };
        let (before, after) = ([before], [after]);
        let drain = "drain Some(\"End after 30 s\")".to_owned();
        let lifetime = ["idleTimeoutSeconds Some(\"60\")", "maxDurationSeconds Some(\"3600\")"].map(str::to_owned);
        assert_eq!(told(&before, &after)[0], drain);
        assert_eq!(told(&before, &after)[1..], lifetime);
        assert!(!told(&[], &after).contains(&drain));
    }

    fn tables() -> impl Strategy<Value = Vec<ServiceTable>> {
        let one = (proptest::collection::btree_set(0u8..5, 0..4), proptest::option::of(0u64..3));
        proptest::collection::btree_map(0u8..5, one, 0..5)
            .prop_map(|all| all.into_iter().map(|(name, (backends, limit))| table(name, backends, limit)).collect())
    }

    proptest! {
        #[test]
        fn nothing_differs_only_between_equals(before in tables(), after in tables()) {
            prop_assert_eq!(compare(&before, &after).is_empty(), before == after);
            prop_assert!(compare(&after, &after).is_empty());
        }

        #[test]
        fn the_way_back_is_the_mirror_image(before in tables(), after in tables()) {
            let mirrored = |action| match action {
                Action::Add => Action::Remove,
                Action::Change => Action::Change,
                Action::Remove => Action::Add,
            };
            let there = compare(&before, &after);
            let back = compare(&after, &before);
            prop_assert_eq!(there.len(), back.len());
            for (there, back) in there.iter().zip(&back) {
                prop_assert_eq!(mirrored(there.action), back.action);
                prop_assert_eq!(there.differences.len(), back.differences.len());
            }
        }

        #[test]
        fn the_slots_that_come_and_go_are_the_backends_that_differ(before in tables(), after in tables()) {
            let slots = maps(&before, &after).into_iter().find(|map| map.name == "SLOTS").unwrap();
            let mut count = slots.before;
            for difference in compare(&before, &after).iter().flat_map(|change| &change.differences) {
                match (difference.field, difference.action) {
                    ("backend", Action::Add) => count += 1,
                    ("backend", Action::Remove) => count -= 1,
                    _ => {}
                }
            }
            prop_assert_eq!(count, slots.after);
        }
    }

    #[test]
    fn ports_that_share_a_backend_share_its_entry() {
        let mut shared = table(1, [1, 2].into(), None);
        shared.ports.push(PortTable { frontends: vec!["10.96.0.1:81".parse().unwrap()], ..shared.ports[0].clone() });
        let maps: Vec<_> = maps(&[], &[shared]).into_iter().map(|map| (map.name, map.after)).collect();
        assert_eq!(maps, [("FRONTENDS", 2), ("ADDRESSES", 1), ("SERVICES", 2), ("SLOTS", 4), ("BACKENDS", 2)]);
    }
}
