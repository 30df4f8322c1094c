//! Maps that no program uses, shaped as those of the programs: for measuring and tests.

use super::{KernelFds, wire};
use crate::bpf::{self, NewMap};
use crate::plan::Sizes;
use aya_obj::generated::bpf_map_type;
use mesh_common::reason::Reason;
use mesh_common::tables::{Backend, BackendId, ClientState, FILTER_WORDS, Outlier, Service, Settings, Traffic};
use std::io;
use std::os::fd::OwnedFd;

/// `BPF_F_MMAPABLE`.
pub(super) const MMAPABLE: u32 = 1 << 10;

impl KernelFds {
    /// Makes maps that live as long as their descriptors. Needs `CAP_BPF`.
    pub fn fresh(sizes: &Sizes, connections: u32) -> io::Result<Self> {
        Ok(Self {
            frontends: hash(wire::FRONTEND, wire::SERVICE_ID, sizes.frontends)?,
            addresses: hash(wire::ADDRESS, wire::SERVICE_ID, sizes.addresses)?,
            filter: array(size_of::<u64>(), FILTER_WORDS)?,
            services: array(size_of::<Service>(), sizes.services)?,
            traffic: array(size_of::<Traffic>(), sizes.services)?,
            outliers: array(size_of::<Outlier>(), sizes.services)?,
            slots: array(size_of::<BackendId>(), sizes.slots)?,
            backends: array(size_of::<Backend>(), sizes.backends)?,
            clients: array(size_of::<ClientState>(), mesh_common::tables::sizes::CLIENTS)?,
            connections: hash(wire::COOKIE, wire::CONNECTION, connections)?,
            reason_counts: array(size_of::<u64>(), sizes.services * Reason::COLUMNS)?,
            settings: array(size_of::<Settings>(), 1)?,
        })
    }
}

fn array(value_size: usize, max_entries: u32) -> io::Result<OwnedFd> {
    bpf::create_map(&NewMap { value_size: value_size as u32, max_entries, flags: MMAPABLE, ..NewMap::default() })
}

fn hash(key_size: usize, value_size: usize, max_entries: u32) -> io::Result<OwnedFd> {
    let (key_size, value_size) = (key_size as u32, value_size as u32);
    let kind = bpf_map_type::BPF_MAP_TYPE_HASH;
    bpf::create_map(&NewMap { kind, key_size, value_size, max_entries, ..NewMap::default() })
}
