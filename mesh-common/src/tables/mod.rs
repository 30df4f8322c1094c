//! Every map's key and value, one file a noun: the ABI between the programs, the agent, and the agent that comes next.
//!
//! | map | kind | key -> value | written by | when full |
//! |---|---|---|---|---|
//! | `FRONTENDS` | hash | [`FrontendKey`] -> [`ServiceId`] | agent | the object is refused |
//! | `ADDRESSES` | hash | `Address` -> [`ServiceId`] | agent | the object is refused |
//! | `FILTER` | array | word index -> bits | agent | cannot be |
//! | `SERVICES` | array | [`ServiceId`] -> [`Service`] | agent (words), programs (counters) | the object is refused |
//! | `TRAFFIC` | array | account's [`ServiceId`] -> [`Traffic`] | agent (words), programs (rate, answer) | cannot be |
//! | `OUTLIERS` | array | account's [`ServiceId`] -> [`Outlier`] | agent (words), programs (counters) | cannot be |
//! | `SLOTS` | array | position -> [`BackendId`] | agent | the object is refused |
//! | `BACKENDS` | array | [`BackendId`] -> [`Backend`] | agent (words), programs (counter, standing, answer) | the object is refused |
//! | `CLIENTS` | array | place -> [`ClientState`] | programs; the agent's audit counts down | the connection is refused |
//! | `CONNECTIONS` | hash | socket cookie -> [`Connection`] | programs; the agent's audit deletes | the connection is refused |
//! | `FLOW_PLACES` | array | place -> [`FlowPlace`] | programs | the datagram is refused |
//! | `FLOWS` | LRU hash | [`FlowKey`] -> [`Flow`] | programs | oldest evicted: the next datagram picks anew |
//! | `REPLIES` | LRU hash | [`ReplyKey`] -> [`FrontendKey`] | programs | oldest evicted: the next datagram writes it again |
//! | `AFFINITY` | LRU hash | [`AffinityKey`] -> [`Affinity`] | programs | oldest evicted: that client is balanced anew |
//! | `LEFT_ALONE` | hash | cgroup id -> 1 | agent | the pod is not left alone |
//! | `SOURCES` | hash | [`SourceKey`] -> 1 | agent | the client is refused at the load balancer's addresses |
//! | `REASON_COUNTS` | array | service * 32 + reason -> count | programs | cannot be |
//! | `INBOUND_BACKENDS` | hash | [`FrontendKey`] -> [`InboundId`] | agent | the backend has no limit, and status says so |
//! | `INBOUND` | array | [`InboundId`] -> [`Inbound`] | agent (words), programs (counters) | as above |
//! | `INBOUND_CONNECTIONS` | hash | [`InboundKey`] -> [`InboundState`] | programs; the agent's recount | the connection is reset |
//! | `HANDSHAKES` | LRU hash | [`InboundKey`] -> [`Expected`] | programs | oldest evicted: the pod's socket is asked instead |
//! | `PACKET_COUNTS` | array | [`PacketReason`](crate::packet::PacketReason) -> count | programs | cannot be |
//! | `SETTINGS` | array | 0 -> [`Settings`] | agent | cannot be |
//! | `EVENTS` | ring buffer | [`Event`] | programs | the event is lost and counted |
//!
//! Arrays are memory-mapped by the agent. A value that changes is changed by one aligned 8-byte store; a hash element
//! never changes its value while its key lives, because a freed element may be another key's at once while a preempted
//! program still holds it.

mod affinity;
mod backend;
mod client;
mod connection;
mod event;
mod filter;
mod flow;
mod flow_place;
mod frontend;
mod inbound;
mod outlier;
mod service;
mod settings;
mod source;
mod traffic;

pub use affinity::{Affinity, AffinityKey, Pin};
pub use backend::{Backend, BackendId, BackendState, BackendTag};
pub use client::ClientState;
pub use connection::{CONFIRMED, Connection, ESTABLISHED, FAILED, WATCHED};
pub use event::{COMM_LEN, Event};
pub use filter::{FILTER_WORDS, FilterBit};
pub use flow::{Flow, FlowKey, ReplyKey};
pub use flow_place::FlowPlace;
pub use frontend::FrontendKey;
pub use inbound::{
    Expected, HAS_SOCKET, Inbound, InboundId, InboundKey, InboundState, NO_NETNS, PENDING, Side, taken_at,
};
pub use outlier::{Outlier, OutlierRule, SlowRule, Thresholds};
pub use service::{Rule, Service, ServiceId, SlotRange, UNLIMITED};
pub use settings::Settings;
pub use source::SourceKey;
pub use traffic::{FlowLimit, OBSERVE, Rate, SlowStart, Traffic, TrafficRule};

/// The layout that this build speaks. It is part of the pin path; any change to a type in this folder raises it.
pub const ABI_VERSION: u32 = 4;

/// Default sizes, in entries. The agent may load other sizes (`--max-...`); pins of another size are refused.
pub mod sizes {
    /// Frontends: one for each ClusterIP, port and protocol.
    pub const FRONTENDS: u32 = 65_536;
    /// Addresses that belong to a Service.
    pub const ADDRESSES: u32 = 65_536;
    /// Service ports, each family by itself.
    pub const SERVICES: u32 = 65_536;
    /// Slots of all services together.
    pub const SLOTS: u32 = 524_288;
    /// Backends of all services together.
    pub const BACKENDS: u32 = 262_144;
    /// Sockets connected through a Service at one time on this node.
    pub const CONNECTIONS: u32 = 131_072;
    /// Clients of Services that limit them, over all such Services. A power of two.
    pub const CLIENTS: u32 = 65_536;
    /// Flows of clients of Services that limit them, over all such Services. A power of two.
    pub const FLOW_PLACES: u32 = 65_536;
    /// Flows of UDP sockets that are not connected.
    pub const FLOWS: u32 = 65_536;
    /// Clients that keep to a backend, over all Services with session affinity.
    pub const AFFINITIES: u32 = 65_536;
    /// Pods of this node that are left alone.
    pub const LEFT_ALONE: u32 = 4_096;
    /// Pods of this node for each Service that has `loadBalancerSourceRanges` which they are in, each family by itself.
    pub const SOURCES: u32 = 16_384;
    /// Backends on this node with a limit on inbound connections.
    pub const INBOUND: u32 = 8_192;
    /// Connections to these backends, half-closed ones twice.
    pub const INBOUND_CONNECTIONS: u32 = 131_072;
    /// Handshakes with these backends that are under way.
    pub const HANDSHAKES: u32 = 16_384;
    /// Bytes of the event ring; a power of two and a multiple of the page size.
    pub const EVENTS_BYTES: u32 = 262_144;
}
