//! The agent and its data path at one glance.

use super::{Finding, InboundStatus, ServiceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The layout of the maps that it speaks (`ABI_VERSION`).
    pub abi: u32,
    /// The node that it decides for.
    pub node: String,
    /// The node's zone; empty when its Node object is not known or has none.
    pub zone: String,
    /// The agent's process.
    pub pid: u32,
    /// When the agent started.
    pub since: Timestamp,
    /// Whether load balancers may send the node something new: its Node object is not about to be deleted.
    pub node_eligible: bool,
    /// One word for all of it.
    pub health: Health,
    /// Why the health is not `ok`, one sentence each, with what to do.
    pub problems: Vec<String>,
    /// The cgroup that the programs are attached to.
    pub cgroup: String,
    /// The directory of the pins.
    pub pins: String,
    /// Where the cluster's objects come from.
    pub sources: Vec<Source>,
    /// What is wrong with objects.
    pub findings: Vec<Finding>,
    /// How full each map is.
    pub maps: Vec<MapUsage>,
    /// The programs, one for each hook.
    pub programs: Vec<Program>,
    /// Services by how they are served.
    pub services: ServiceCounts,
    /// How changes get into the maps.
    pub synchronisation: Synchronisation,
    /// Pods of this node whose connections are left alone (label `mesh.dev/data-plane`), as `namespace/name`; one that the
    /// programs do not know yet has ` (not found)` after it.
    pub left_alone: Vec<String>,
    /// Services whose maps are not yet as they should be.
    pub waiting: Vec<Waiting>,
    /// Connections over all Services.
    pub connections: Connections,
    /// Refused connections since the maps were made, by the name of the reason. Every reason is listed.
    pub refusals: BTreeMap<String, u64>,
    /// Limits on what arrives at this node's backends.
    pub inbound: InboundStatus,
    /// Sampled events.
    pub events: EventCounts,
    /// The last recount of the sockets; absent before the first.
    pub audit: Option<Audit>,
}

/// One word for the agent's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// All is as the manifests say.
    Ok,
    /// Sources have not yet reported their first full list; nothing has been written.
    Starting,
    /// Something needs attention: `problems` says what.
    Degraded,
}

impl Health {
    /// The word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
        }
    }
}

/// Where objects come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The manifest directory.
    pub name: String,
    /// Whether its first full list is in.
    pub synced: bool,
    /// When it last reported a change; absent before the first.
    pub last_change: Option<Timestamp>,
    /// Manifest files read.
    pub files: u64,
    /// Documents in them, each item of a list by itself.
    pub documents: u64,
    /// Objects that are understood, by kind.
    pub objects: BTreeMap<String, u64>,
    /// Documents of kinds that the agent does not read, by kind.
    pub passed_over: BTreeMap<String, u64>,
    /// Why it does not follow changes at present; absent when it does.
    pub error: Option<String>,
}

/// How full a map is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapUsage {
    /// The map's name.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries that fit.
    pub size: u64,
}

/// A program at its hook.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// The hook, as `connect4`.
    pub hook: String,
    /// The kernel's id of the program; 0 when there is none.
    pub program_id: u32,
    /// Whether a link holds it at the hook.
    pub attached: bool,
    /// Whether the link is to the agent's cgroup and carries the program that this agent loaded.
    pub in_force: bool,
}

/// Services by how they are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCounts {
    /// In the maps as the manifests say.
    pub served: u64,
    /// Of these, without an eligible backend: clients are refused.
    pub without_backends: u64,
    /// Left alone by rule: headless, `ExternalName`, another proxy's.
    pub ignored: u64,
    /// Not yet in the maps as the manifests say.
    pub waiting: u64,
}

/// How changes get into the maps, since the agent started.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synchronisation {
    /// When the maps were last brought in line; absent before the first time.
    pub last: Option<Timestamp>,
    /// From the agent's start until the first full list was in the maps, in seconds; absent before.
    pub first_seconds: Option<f64>,
    /// Changes of a Service that got into the maps after the first full list.
    pub changes: u64,
    /// How long those took on average, from their receipt until the maps were as they should be, in seconds; absent
    /// before the first.
    pub mean_seconds: Option<f64>,
    /// Services that could not be brought in line, each time.
    pub failures: u64,
    /// Services that were tried again after a failure, each time.
    pub retries: u64,
}

/// A Service whose maps are not yet as they should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The Service.
    pub service: ServiceName,
    /// Whether a write failed.
    pub state: WaitingState,
    /// What is waited for, or what failed.
    pub message: String,
    /// Writes that failed one after the other.
    pub attempts: u32,
    /// When it is tried again; absent when something must change first.
    pub next_retry: Option<Timestamp>,
}

/// Why a Service waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WaitingState {
    /// Its writes are under way.
    Pending,
    /// A write failed.
    Failed,
}

/// Connections over all Services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Open now.
    pub active: u64,
    /// Admitted since the maps were made.
    pub opened: u64,
    /// Of these, sent to another backend than the first pick because that one was at its limit.
    pub spilled: u64,
    /// Datagrams and reconnects that went on with the backend of their flow.
    pub flow_kept: u64,
    /// Of those that were opened, sent to the backend that the client had before: session affinity.
    pub affinity_kept: u64,
}

/// Sampled events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventCounts {
    /// Read from the ring since the agent started.
    pub read: u64,
    /// Not written because the budget was spent or the ring was full.
    pub lost: u64,
}

/// A recount of the sockets against what is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// When it ended.
    pub at: Timestamp,
    /// Connections that were found to be counted.
    pub connections: u64,
    /// Slots given back whose connect() had failed on this machine.
    pub given_back: u64,
    /// Counters that did not agree with two recounts in a row, and could not be set right: connections went on.
    pub drifted: u64,
    /// Counters that were set right since the agent started.
    #[serde(default)]
    pub repaired: u64,
}
