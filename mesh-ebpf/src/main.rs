//! The programs in the kernel, one file a hook.
//!
//! | module | holds |
//! |---|---|
//! | `programs` | the entry points: a sentence each |
//! | `context` | typed, volatile views of the kernel's contexts |
//! | `flow` | where a connection or a datagram goes: the decision without a context type |
//! | `frontend` | what a destination address is |
//! | `left_alone` | pods that another mesh serves |
//! | `pick` | which slot the Service's rule picks |
//! | `choice` | picking a backend and taking its slot |
//! | `health` | ejecting backends that fail, by what becomes of connections |
//! | `answer` | how long backends take to answer, for `health` |
//! | `affinity` | the backend that a client keeps to |
//! | `limits` | limits by client and by rate |
//! | `flow_limit` | limits on the flows of a client |
//! | `connection` | holding and giving back a socket's slot |
//! | `datagram` | flows of UDP sockets that are not connected |
//! | `sources` | who may reach a load balancer's addresses |
//! | `inbound` | limits on what arrives at a backend, at its pod's interface |
//! | `packet` | a typed view of the socket buffer |
//! | `refusal` | turning a segment into the RST that refuses it |
//! | `verdict` | turning a decision into a return value |
//! | `event` | sampled, rate-limited records of what was decided |
//! | `maps` | every map |
#![no_std]
#![no_main]

mod affinity;
mod answer;
mod choice;
mod connection;
mod context;
mod datagram;
mod event;
mod flow;
mod flow_limit;
mod frontend;
mod health;
mod inbound;
mod left_alone;
mod limits;
mod maps;
mod packet;
mod pick;
mod programs;
mod refusal;
mod sources;
mod verdict;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // A reachable panic is refused by the verifier at load.
    loop {}
}

/// The kernel offers its helpers to GPL-compatible programs: this crate is Apache-2.0 or GPL-2.0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
