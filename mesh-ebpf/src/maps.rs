//! Every map, with its writer and its eviction; sizes are defaults that the agent may raise at load.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::packet::PacketReason;
use mesh_common::reason::Reason;
use mesh_common::tables::{
    Affinity, AffinityKey, Backend, ClientState, Connection, Event, Expected, FILTER_WORDS, Flow, FlowKey, FlowPlace,
    FrontendKey, Inbound, InboundId, InboundKey, InboundState, Outlier, ReplyKey, Service, ServiceId, Settings,
    SourceKey, Traffic, sizes,
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Where there is nothing in them, they take no memory for elements.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const REASON_COUNTERS: usize = (sizes::SERVICES * Reason::COLUMNS) as usize;

/// What clients dial. Written by: agent. When full: the object is refused.
#[btf_map]
pub static FRONTENDS: HashMap<FrontendKey, ServiceId, { sizes::FRONTENDS as usize }> = HashMap::new();

/// Addresses of Services, to the account. Written by: agent. When full: the object is refused.
#[btf_map]
pub static ADDRESSES: HashMap<Address, ServiceId, { sizes::ADDRESSES as usize }> = HashMap::new();

/// Which addresses may be a Service's, one bit each. Written by: agent.
#[btf_map]
pub static FILTER: Array<u64, { FILTER_WORDS as usize }, MMAPABLE> = Array::new();

/// Service ports by id. Words written by: agent; counters by: programs.
#[btf_map]
pub static SERVICES: Array<Service, { sizes::SERVICES as usize }, MMAPABLE> = Array::new();

/// What Services ask for beyond that, by account. Words written by: agent; rate and answer by: programs.
#[btf_map]
pub static TRAFFIC: Array<Traffic, { sizes::SERVICES as usize }, MMAPABLE> = Array::new();

/// When backends of an account are ejected, and how many are. Words written by: agent; counters by: programs.
#[btf_map]
pub static OUTLIERS: Array<Outlier, { sizes::SERVICES as usize }, MMAPABLE> = Array::new();

/// Backend ids; a range for each service. Written by: agent.
#[btf_map]
pub static SLOTS: Array<u32, { sizes::SLOTS as usize }, MMAPABLE> = Array::new();

/// Backends by id. Words written by: agent; counter, standing and answer by: programs.
#[btf_map]
pub static BACKENDS: Array<Backend, { sizes::BACKENDS as usize }, MMAPABLE> = Array::new();

/// Connected sockets by cookie. Written by: programs; the agent's audit deletes. When full: the connection is refused.
#[btf_map]
pub static CONNECTIONS: HashMap<u64, Connection, { sizes::CONNECTIONS as usize }> = HashMap::new();

/// Counts of clients, by place. Written by: programs; agent's audit counts down. When a window is full: refused.
#[btf_map]
pub static CLIENTS: Array<ClientState, { sizes::CLIENTS as usize }, MMAPABLE> = Array::new();

/// Flows by client, where they are limited. Written by: programs. When a window is full: the datagram is refused.
#[btf_map]
pub static FLOW_PLACES: Array<FlowPlace, { sizes::FLOW_PLACES as usize }, MMAPABLE> = Array::new();

/// Flows of UDP sockets that are not connected. Written by: programs. When full: the oldest goes and is made anew.
#[btf_map]
pub static FLOWS: LruHashMap<FlowKey, Flow, { sizes::FLOWS as usize }> = LruHashMap::new();

/// What replies of those flows must look like. Written by: programs. When full: the oldest goes and is made anew.
#[btf_map]
pub static REPLIES: LruHashMap<ReplyKey, FrontendKey, { sizes::FLOWS as usize }> = LruHashMap::new();

/// The backend that each client of a Service with session affinity keeps to. Written by: programs. When full: the client
/// that stayed away longest is balanced anew.
#[btf_map]
pub static AFFINITY: LruHashMap<AffinityKey, Affinity, { sizes::AFFINITIES as usize }> = LruHashMap::new();

/// The cgroups of pods that are left alone. Written by: agent. When full: the pod is served like others.
#[btf_map]
pub static LEFT_ALONE: HashMap<u64, u32, { sizes::LEFT_ALONE as usize }> = HashMap::new();

/// Who may reach a Service that has `loadBalancerSourceRanges` at its load balancer's addresses. Written by: agent. When full:
/// the client is refused there.
#[btf_map]
pub static SOURCES: HashMap<SourceKey, u32, { sizes::SOURCES as usize }> = HashMap::new();

/// Choices and refusals by service and reason. Written by: programs.
#[btf_map]
pub static REASON_COUNTS: Array<Atomic64, REASON_COUNTERS, MMAPABLE> = Array::new();

/// Backends on this node whose inbound connections are limited. Written by: agent. When full: the backend has no limit.
#[btf_map]
pub static INBOUND_BACKENDS: HashMap<FrontendKey, InboundId, { sizes::INBOUND as usize }, ON_DEMAND> = HashMap::new();

/// These backends by id. Words written by: agent; counters by: programs.
#[btf_map]
pub static INBOUND: Array<Inbound, { sizes::INBOUND as usize }, MMAPABLE> = Array::new();

/// Connections to these backends. Written by: programs; the agent's recount deletes and adds. When full: the connection
/// is reset.
#[btf_map]
pub static INBOUND_CONNECTIONS: HashMap<InboundKey, InboundState, { sizes::INBOUND_CONNECTIONS as usize }, ON_DEMAND> =
    HashMap::new();

/// What ends the handshakes with these backends that are under way. Written by: programs. When full: the oldest goes, and the
/// pod's socket is asked instead.
#[btf_map]
pub static HANDSHAKES: LruHashMap<InboundKey, Expected, { sizes::HANDSHAKES as usize }> = LruHashMap::new();

/// Packets that were dropped or refused, by reason. Written by: programs.
#[btf_map]
pub static PACKET_COUNTS: Array<Atomic64, { PacketReason::COUNTERS as usize }, MMAPABLE> = Array::new();

/// What the agent changes live. Written by: agent; `events_lost` by: programs.
#[btf_map]
pub static SETTINGS: Array<Settings, 1, MMAPABLE> = Array::new();

/// Sampled choices and refusals. Written by: programs. When full: the event is lost and counted.
#[btf_map]
pub static EVENTS: RingBuf<Event, { sizes::EVENTS_BYTES as usize }> = RingBuf::new();

/// Each processor's event budget: the time until which it is spent. Written by: programs.
#[btf_map]
pub static EVENT_BUDGET: PerCpuArray<u64, 1> = PerCpuArray::new();
