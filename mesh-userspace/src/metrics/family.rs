//! Every metric: its name, type, unit, labels, help.
//!
//! To add one: its constant, its place in [`ALL`], its samples in [`super::exposition`], its row in `docs/metrics.md`.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt;

/// One metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name without the suffixes of its unit and type.
    pub stem: &'static str,
    /// What kind of figure it is.
    pub kind: Kind,
    /// Whether it is in seconds or bytes; neither: a number of things.
    pub unit: Measure,
    /// The labels of each of its series, in this order.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// What kind of figure a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Rises; falls to 0 when what it counts is made anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations by bucket.
    Histogram,
    /// Always 1; its labels say something.
    Info,
}

impl Kind {
    /// As in `# TYPE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
            Kind::Info => Self::Info,
        }
    }
}

/// What a figure is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// A number of things.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Measure {
    /// The library's unit.
    pub fn unit(self) -> Option<Unit> {
        match self {
            Self::Number => None,
            Self::Seconds => Some(Unit::Seconds),
            Self::Bytes => Some(Unit::Bytes),
        }
    }
}

/// The name that a query uses; a histogram's series end in `_bucket`, `_sum` and `_count`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stem)?;
        f.write_str(match self.unit {
            Measure::Number => "",
            Measure::Seconds => "_seconds",
            Measure::Bytes => "_bytes",
        })?;
        f.write_str(match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        })
    }
}

const SERVICE: &[&str] = &["namespace", "service"];
const SERVICE_AND_REASON: &[&str] = &["namespace", "service", "reason"];

macro_rules! families {
    ($($(#[$doc:meta])* $name:ident = $kind:ident $stem:literal $measure:ident $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Family = Family {
                stem: $stem, kind: Kind::$kind, unit: Measure::$measure, labels: $labels, help: $help,
            };
        )*
        /// Every metric, in the order in which they are shown.
        pub const ALL: &[Family] = &[$($name),*];
    };
}

families! {
    BUILD = Info "mesh_build" Number &["version", "abi"], "The agent's version and the layout of its maps";
    START = Gauge "mesh_agent_start_time" Seconds &[], "When the agent started, since the epoch";
    MEMORY = Gauge "mesh_agent_resident_memory" Bytes &[], "Memory of the agent, without the maps";
    CPU = Counter "mesh_agent_cpu" Seconds &[], "Processor time of the agent";
    READY = Gauge "mesh_ready" Number &[], "1 when every source is synced and every program in force";
    NODE_ELIGIBLE = Gauge "mesh_node_eligible" Number &[], "1 unless the Node object is about to be deleted";
    PROBLEMS = Gauge "mesh_problems" Number &[], "What needs attention: mesh status says it in words";
    PROGRAM = Gauge "mesh_program_in_force" Number &["hook"], "1 when the agent's program is in force at the hook";

    ADMITTED = Counter "mesh_service_connections_admitted" Number SERVICE_AND_REASON,
        "Connections that were sent to a backend, by how it was chosen";
    REFUSED = Counter "mesh_service_connections_refused" Number SERVICE_AND_REASON,
        "Connections that were refused, by why";
    OBSERVED = Counter "mesh_service_connections_observed" Number SERVICE_AND_REASON,
        "Connections that were let through and would have been refused but for mode Observe, by which limit";
    ENDED = Counter "mesh_service_connections_ended" Number SERVICE_AND_REASON,
        "Connections that the agent ended since it started, by why";
    KEPT = Counter "mesh_service_flows_kept" Number SERVICE,
        "Datagrams and reconnects that went on with the backend of their flow";
    ACTIVE = Gauge "mesh_service_connections_active" Number SERVICE, "Connections open now";
    LIMIT = Gauge "mesh_service_connections_limit" Number SERVICE,
        "Most connections at once from this node; no series where there is no limit";
    BACKEND_LIMIT = Gauge "mesh_service_backend_connections_limit" Number SERVICE,
        "Most connections at once from this node to each backend; no series where there is no limit";
    CLIENT_LIMIT = Gauge "mesh_service_client_connections_limit" Number SERVICE,
        "Most connections at once of each client on this node; no series where there is no limit";
    CLIENT_FLOW_LIMIT = Gauge "mesh_service_client_flows_limit" Number SERVICE,
        "Most UDP flows at once of each client on this node; no series where there is no limit";
    RATE_LIMIT = Gauge "mesh_service_new_connections_per_second_limit" Number SERVICE,
        "Most new connections a second from this node; no series where there is no limit";
    CLIENT_RATE_LIMIT = Gauge "mesh_service_client_new_connections_per_second_limit" Number SERVICE,
        "Most new connections a second of each client on this node; no series where there is no limit";
    EJECTED = Gauge "mesh_service_backends_ejected" Number SERVICE,
        "Backends that count as ejected from this node; no series where none is ever ejected";
    EJECTIONS = Counter "mesh_service_ejections" Number SERVICE,
        "Backends ejected from this node for failures in a row, each time";
    RETURNS = Counter "mesh_service_health_check_returns" Number SERVICE,
        "Ejected backends that a health check of the agent brought back since it started";
    LEFT_OUT = Gauge "mesh_services_left_out" Number &[],
        "Services with figures that have no series here, because too many have";

    SERVICES = Gauge "mesh_services" Number &["state"], "Services by how they are served";
    CONNECTIONS = Gauge "mesh_connections_active" Number &[], "Connections open now, over all Services";
    FINDINGS = Gauge "mesh_findings" Number &["severity"], "What is wrong with objects, by how much is affected";

    CHANGES = Histogram "mesh_change_duration" Seconds &[],
        "From the receipt of a Service's change until the maps are as it says";
    SYNCS = Histogram "mesh_sync_duration" Seconds &[], "One round of writing what changed";
    FIRST_SYNC = Gauge "mesh_first_sync_duration" Seconds &[],
        "From the agent's start until the first full list was in the maps";
    FAILURES = Counter "mesh_reconcile_failures" Number &[], "Services that could not be brought in line, each time";
    RETRIES = Counter "mesh_reconcile_retries" Number &[], "Services that were tried again after a failure, each time";
    DRIFT = Gauge "mesh_audit_drifted_counts" Number &[], "Counts that two recounts in a row did not agree with, and that are not set right";
    REPAIRED = Counter "mesh_audit_repaired_counts" Number &[], "Counts that were set right, each time";

    INBOUND_BACKENDS = Gauge "mesh_inbound_backends" Number &["state"],
        "Backends of this node with a limit on what arrives, by whether it is in force";
    INBOUND_CONNECTIONS = Gauge "mesh_inbound_connections" Number &[],
        "Connections to these backends at the last recount, from wherever";
    INBOUND_GIVEN_BACK = Counter "mesh_inbound_slots_given_back" Number &[],
        "Slots that recounts gave back: the connection's socket was gone, and no packet had said so";
    INBOUND_REPAIRED = Counter "mesh_inbound_repaired_counts" Number &[],
        "Counts of these backends that were set right, each time";
    INBOUND_PACKETS = Counter "mesh_inbound_packets" Number &["reason"],
        "Packets that were refused, reset or dropped at these backends' interfaces, by why";

    MAP_ENTRIES = Gauge "mesh_map_entries" Number &["map"], "Entries in use";
    MAP_SIZE = Gauge "mesh_map_max_entries" Number &["map"], "Entries that fit";

    CONNECTED = Gauge "mesh_source_connected" Number &["source"], "1 while the source follows changes";
    SYNCED = Gauge "mesh_source_synced" Number &["source"], "1 once the source's first full list is in";
    SOURCE_AGE = Gauge "mesh_source_last_event_age" Seconds &["source"], "How long ago the source last reported a change";
    OBJECTS = Gauge "mesh_source_objects" Number &["source", "kind"], "Objects that are understood";

    EVENTS_READ = Counter "mesh_events_read" Number &[], "Sampled events that the agent read";
    EVENTS_LOST = Counter "mesh_events_lost" Number &[], "Events that were not written: over the budget, or the ring was full";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_prometheus_conventions() {
        let mut names = HashSet::new();
        for family in ALL {
            let name = family.to_string();
            assert!(name.starts_with("mesh_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(
                family.kind == Kind::Histogram,
                name.ends_with("_duration_seconds") && family.kind != Kind::Gauge
            );
            assert!(!family.help.ends_with('.'), "{name}: the library adds the full stop");
            assert!(names.insert(name));
        }
    }
}
