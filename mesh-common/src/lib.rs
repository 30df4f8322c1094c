//! What the programs in the kernel and the agent agree on.
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | [`Address`](address::Address), [`Port`](address::Port), [`Protocol`](address::Protocol): one form for both families |
//! | [`atomic`] | the counters that both sides touch at the same time |
//! | [`reason`] | why a connection went where it went, or did not |
//! | [`tables`] | every map's key and value, with its writer, its size and its eviction |
//! | [`select`] | the load-balancing algorithms, one file each |
//! | [`packet`] | what a packet is, what is wrong with it, and how a refusal looks |
//! | [`rate`] | a budget of events over time |
//! | [`clients`] | counts by client |
//! | [`flows`] | flows of UDP sockets by client |
//! | [`admission`] | taking and giving back slots under a limit |
//! | [`outlier`] | ejecting backends that fail, and taking them back |
//! | [`answer`] | how long backends take to answer, and which is slower than the others |
//!
//! Nothing here needs a kernel, so that every decision is tested on the host.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "BPF atomics: `atomic-cas` is false for this target")
)]

pub mod address;
pub mod admission;
pub mod answer;
pub mod atomic;
pub mod clients;
pub mod flows;
pub mod outlier;
pub mod packet;
pub mod rate;
pub mod reason;
pub mod select;
pub mod tables;
