//! One step from what the maps hold to what they should hold.
//!
//! Each step is one that a reader may see done or not done, at any moment, without ever being led astray: it writes
//! what nothing refers to yet, or one aligned word, or one hash element.

use super::BackendKey;
use crate::model::ServiceKey;
use mesh_common::address::Address;
use mesh_common::select::Algorithm;
use mesh_common::tables::{
    BackendId, FrontendKey, OutlierRule, Rate, Rule, ServiceId, SlotRange, SlowRule, TrafficRule, UNLIMITED,
};
use std::fmt;
use std::time::Duration;

/// A change of the maps. [`MapOp::phase`] gives the order within one Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MapOp {
    /// A fresh entry of `SERVICES` becomes the account of a Service: counters at zero, limits set, no slots.
    OpenAccount {
        /// The entry.
        id: ServiceId,
        /// The Service; `None` for one that an earlier agent left.
        service: Option<ServiceKey>,
        /// Whether it is no Service's but holds the nodes' addresses.
        nodes: bool,
        /// Most connections at once.
        max_connections: u64,
        /// Most connections at once to each backend.
        max_connections_per_backend: u64,
    },
    /// Changes the limit of a live account.
    SetMaxConnections {
        /// The account.
        account: ServiceId,
        /// Most connections at once.
        limit: u64,
    },
    /// Changes the limit of a live account's backends.
    SetMaxConnectionsPerBackend {
        /// The account.
        account: ServiceId,
        /// Most connections at once to each backend.
        limit: u64,
    },
    /// Changes what a live account asks for beyond limits and rules. Rules say whether it is looked at.
    SetTraffic {
        /// The account.
        account: ServiceId,
        /// What it asks for.
        traffic: TrafficRule,
    },
    /// Changes when backends of a live account are ejected. Rules say whether it is looked at.
    SetOutlier {
        /// The account.
        account: ServiceId,
        /// When.
        outlier: OutlierRule,
    },
    /// A fresh entry of `BACKENDS` becomes a backend, serving from now on, in no slot yet.
    CreateBackend {
        /// The entry.
        id: BackendId,
        /// The endpoint.
        key: BackendKey,
        /// The account that it belongs to.
        account: ServiceId,
        /// Its weight.
        weight: u32,
    },
    /// A backend that was gone serves again, from now on, with its id and its count.
    ReviveBackend {
        /// The entry.
        id: BackendId,
        /// The endpoint.
        key: BackendKey,
        /// The account that it belongs to.
        account: ServiceId,
        /// Its weight.
        weight: u32,
    },
    /// Changes the weight of a backend.
    SetWeight {
        /// The entry.
        id: BackendId,
        /// The endpoint.
        key: BackendKey,
        /// The account that it belongs to.
        account: ServiceId,
        /// Its weight.
        weight: u32,
    },
    /// Writes a range of `SLOTS` that nothing refers to.
    WriteSlots {
        /// First position.
        base: u32,
        /// What each position says, in order.
        backends: Vec<BackendId>,
    },
    /// Writes over the front of a live port's own slots, when no other range is free: each position says one of the
    /// Service's backends before and after.
    RewriteSlots {
        /// The port's entry.
        id: ServiceId,
        /// First position.
        base: u32,
        /// What each position says, in order.
        backends: Vec<BackendId>,
    },
    /// A fresh entry of `SERVICES`, or the account's own, becomes a port: rule set, no slots yet.
    OpenPort {
        /// The entry.
        id: ServiceId,
        /// How a slot is picked, and the account of the Service.
        rule: Rule,
        /// How long a client may stay away and keep its backend, nanoseconds; 0 for no affinity.
        affinity_timeout: u64,
        /// What clients will dial; it names the port.
        dialled: Option<FrontendKey>,
    },
    /// Changes how a slot of a live port is picked. One word; every algorithm picks from any slots.
    SetRule {
        /// The entry.
        id: ServiceId,
        /// How a slot is picked, and the account of the Service.
        rule: Rule,
    },
    /// Changes how long a client may stay away from a live port and keep its backend.
    SetAffinityTimeout {
        /// The entry.
        id: ServiceId,
        /// Nanoseconds; 0 for no affinity.
        timeout: u64,
    },
    /// The one-word store that puts a port's slots in force.
    Publish {
        /// The entry.
        id: ServiceId,
        /// Where its slots lie.
        range: SlotRange,
        /// What they say.
        backends: Vec<BackendId>,
    },
    /// The filter lets an address pass.
    SetFilter {
        /// The address.
        address: Address,
    },
    /// Clients that dial this reach the port.
    InsertFrontend {
        /// What clients dial.
        key: FrontendKey,
        /// The port's entry.
        id: ServiceId,
    },
    /// Ports of this address that no Service lists are refused.
    InsertAddress {
        /// The Service's address.
        address: Address,
        /// The account of the Service.
        account: ServiceId,
    },
    /// Clients no longer reach the port by this.
    DeleteFrontend {
        /// What clients dialled.
        key: FrontendKey,
        /// The port's entry.
        id: ServiceId,
    },
    /// The address is no Service's any more.
    DeleteAddress {
        /// The Service's address.
        address: Address,
        /// The account of the Service.
        account: ServiceId,
    },
    /// A port that nothing leads to loses its slots; its entry is kept while connections name it.
    ClosePort {
        /// The entry.
        id: ServiceId,
    },
    /// A backend's endpoint is gone: flows pick anew, open connections are counted until they end.
    MarkGone {
        /// The entry.
        id: BackendId,
        /// The endpoint.
        key: BackendKey,
        /// The account that it belongs to.
        account: ServiceId,
    },
    /// The filter stops an address's bit that no address of a Service has any more.
    ClearFilter {
        /// The bit, 0 to 1,048,575.
        bit: u32,
    },
    /// An entry of `BACKENDS` that counts nothing becomes free.
    RetireBackend {
        /// The entry.
        id: BackendId,
    },
    /// An entry of `SERVICES` that counts nothing and that nothing refers to becomes free.
    RetireService {
        /// The entry.
        id: ServiceId,
    },
}

/// When a step comes among the steps of its Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Stores to arrays: what nothing refers to, then the words that put it in force. Each needs those before it.
    Build,
    /// New hash elements, when all that they lead to is there.
    Insert,
    /// Hash elements go.
    Delete,
    /// What these led to goes.
    Settle,
}

impl MapOp {
    /// When it comes among the steps of its Service. A backend may be marked gone as soon as no slot in force names it.
    pub fn phase(&self) -> Phase {
        match self {
            Self::SetFilter { .. } | Self::InsertFrontend { .. } | Self::InsertAddress { .. } => Phase::Insert,
            Self::DeleteFrontend { .. } | Self::DeleteAddress { .. } => Phase::Delete,
            Self::ClosePort { .. }
            | Self::ClearFilter { .. }
            | Self::RetireBackend { .. }
            | Self::RetireService { .. } => Phase::Settle,
            _ => Phase::Build,
        }
    }
}

/// A limit for people.
struct Limit(u64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == UNLIMITED { f.write_str("no limit") } else { self.0.fmt(f) }
    }
}

/// What is asked for beyond limits and rules, for people.
fn traffic_text(traffic: &TrafficRule) -> String {
    let rate = |rate: Rate| format!("{} new connections a second, {} at once", rate.connections(), rate.at_once());
    let parts = [
        traffic.slow_start.map(|slow| format!("slow start over {} s", slow.window / 1_000_000_000)),
        traffic.client_limit.map(|limit| format!("connections at once of each client: {limit}")),
        traffic.rate.map(rate),
        traffic.client_rate.map(|limit| format!("of each client {}", rate(limit))),
        traffic.flows.map(|flows| {
            format!("flows at once of each client: {}, idle after {} s", flows.most, flows.idle / 1_000_000_000)
        }),
        traffic.observe.then(|| "observe only".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// A rule for people.
struct RuleText<'a>(&'a Rule);

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.algorithm.name())?;
        if self.0.algorithm == Algorithm::Maglev {
            write!(f, " by {}", self.0.hash.name())?;
        }
        f.write_str(if self.0.traffic { ", as TRAFFIC says" } else { "" })?;
        f.write_str(if self.0.outlier { ", ejecting as OUTLIERS says" } else { "" })?;
        f.write_str(if self.0.fenced { ", for those of SOURCES" } else { "" })
    }
}

/// An affinity timeout for people.
struct Affinity(u64);

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no affinity"),
            nanoseconds => write!(f, "clients keep their backend for {:?}", Duration::from_nanos(nanoseconds)),
        }
    }
}

/// `1 slot`, `2 slots`.
struct Slots(usize);

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slot{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl fmt::Display for MapOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenAccount { id, service, max_connections, max_connections_per_backend, .. } => {
                write!(f, "SERVICES[{}]: account", id.0)?;
                if let Some(service) = service {
                    write!(f, " of {service}")?;
                }
                let (most, each) = (Limit(*max_connections), Limit(*max_connections_per_backend));
                write!(f, ", connections at once: {most}, to each backend: {each}")
            }
            Self::SetMaxConnections { account, limit } => {
                write!(f, "SERVICES[{}]: connections at once: {}", account.0, Limit(*limit))
            }
            Self::SetMaxConnectionsPerBackend { account, limit } => {
                write!(f, "SERVICES[{}]: connections at once to each backend: {}", account.0, Limit(*limit))
            }
            Self::SetTraffic { account, traffic } => {
                write!(f, "TRAFFIC[{}]: ", account.0)?;
                f.write_str(&traffic_text(traffic))
            }
            Self::SetOutlier { account, outlier } => {
                write!(f, "OUTLIERS[{}]: ", account.0)?;
                if *outlier == OutlierRule::default() {
                    return f.write_str("nothing is ejected");
                }
                let OutlierRule { thresholds, base_ejection, max_ejection, allowed, .. } = outlier;
                let time = |milliseconds: &u64| Duration::from_millis(*milliseconds);
                write!(f, "ejected after {} failed connects or {} resets", thresholds.connects, thresholds.resets)?;
                if thresholds.slow.percent != 0 {
                    let SlowRule { percent, least } = thresholds.slow;
                    write!(f, ", or for answers slower than {percent} % of all by {least} ms")?;
                }
                write!(f, " for {:?} to {:?}, at most {allowed}", time(base_ejection), time(max_ejection))
            }
            Self::CreateBackend { id, key, account, weight } => {
                write!(f, "BACKENDS[{}]: {key} of account {}, new", id.0, account.0)?;
                if *weight == 1 { Ok(()) } else { write!(f, ", weight {weight}") }
            }
            Self::SetWeight { id, key, weight, .. } => write!(f, "BACKENDS[{}]: {key}, weight {weight}", id.0),
            Self::ReviveBackend { id, key, .. } => write!(f, "BACKENDS[{}]: {key} serves again", id.0),
            Self::WriteSlots { base, backends } => {
                write!(f, "SLOTS[{base}..{}]: ", *base as usize + backends.len())?;
                list(f, backends)
            }
            Self::RewriteSlots { id, base, backends } => {
                write!(f, "SLOTS[{base}..{}]: in place for SERVICES[{}]: ", *base as usize + backends.len(), id.0)?;
                list(f, backends)
            }
            Self::OpenPort { id, rule, affinity_timeout, dialled } => {
                write!(f, "SERVICES[{}]: port", id.0)?;
                if let Some(dialled) = dialled {
                    write!(f, " {dialled}")?;
                }
                write!(f, " of account {}, {}", rule.account.0, RuleText(rule))?;
                if *affinity_timeout != 0 { write!(f, ", {}", Affinity(*affinity_timeout)) } else { Ok(()) }
            }
            Self::SetRule { id, rule } => write!(f, "SERVICES[{}]: {}", id.0, RuleText(rule)),
            Self::SetAffinityTimeout { id, timeout } => write!(f, "SERVICES[{}]: {}", id.0, Affinity(*timeout)),
            Self::Publish { id, range, .. } if range.len == 0 => {
                write!(f, "SERVICES[{}]: no slots, connections are refused", id.0)
            }
            Self::Publish { id, range, .. } => {
                write!(f, "SERVICES[{}]: {} from {} in force", id.0, Slots(range.len as usize), range.base)
            }
            Self::SetFilter { address } => write!(f, "FILTER: {address} passes"),
            Self::InsertFrontend { key, id } => write!(f, "FRONTENDS: {key} leads to SERVICES[{}]", id.0),
            Self::InsertAddress { address, account } => {
                write!(f, "ADDRESSES: {address} belongs to account {}", account.0)
            }
            Self::DeleteFrontend { key, .. } => write!(f, "FRONTENDS: {key} goes"),
            Self::DeleteAddress { address, .. } => write!(f, "ADDRESSES: {address} goes"),
            Self::ClosePort { id } => write!(f, "SERVICES[{}]: port closed", id.0),
            Self::MarkGone { id, key, .. } => write!(f, "BACKENDS[{}]: {key} is gone", id.0),
            Self::ClearFilter { bit } => write!(f, "FILTER: bit {bit} stops"),
            Self::RetireBackend { id } => write!(f, "BACKENDS[{}]: free", id.0),
            Self::RetireService { id } => write!(f, "SERVICES[{}]: free", id.0),
        }
    }
}

/// At most eight ids, then how many more.
fn list(f: &mut fmt::Formatter<'_>, backends: &[BackendId]) -> fmt::Result {
    const SHOWN: usize = 8;
    f.write_str("backends")?;
    for (position, id) in backends.iter().take(SHOWN).enumerate() {
        write!(f, "{} {}", if position == 0 { "" } else { "," }, id.0)?;
    }
    if backends.len() > SHOWN {
        write!(f, " and {} more", backends.len() - SHOWN)?;
    }
    Ok(())
}
