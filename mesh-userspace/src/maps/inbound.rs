//! The maps of limits on what arrives at this node's backends.

use super::mapped::Mapped;
use super::{MapError, wire};
use crate::bpf;
use crate::datapath::{self, Pins};
use crate::plan::BackendKey;
use mesh_common::tables::{FrontendKey, Inbound, InboundId, InboundKey};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of an [`InboundKey`].
const KEY: usize = size_of::<InboundKey>();

/// The maps as the agent writes them.
#[derive(Debug)]
pub struct InboundMaps {
    backends: OwnedFd,
    inbound: Mapped<Inbound>,
    connections: OwnedFd,
}

impl InboundMaps {
    /// As they are pinned.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let open = |name| -> Result<OwnedFd, datapath::Error> { pins.open_map(name) };
        let mut inbound = Mapped::<Inbound>::new("INBOUND", open("INBOUND")?, size_of::<Inbound>())?;
        inbound.hide(0)?;
        Ok(Self { backends: open("INBOUND_BACKENDS")?, inbound, connections: open("INBOUND_CONNECTIONS")? })
    }

    /// How many backends fit; the first is none.
    pub fn size(&self) -> usize {
        self.inbound.len()
    }

    /// Every backend with its entry.
    pub fn backends(&self) -> Result<BTreeMap<BackendKey, InboundId>, MapError> {
        let (keys, ids) = bpf::read_all(self.backends.as_fd(), wire::FRONTEND, size_of::<u32>())
            .map_err(|source| MapError::Io { action: "read", map: "INBOUND_BACKENDS", source })?;
        let keys = keys.chunks_exact(wire::FRONTEND).map(wire::read_frontend);
        let ids = ids.as_chunks().0.iter().map(|id| InboundId(u32::from_ne_bytes(*id)));
        Ok(keys
            .map(|key| BackendKey { address: key.address, port: key.port, protocol: key.protocol() })
            .zip(ids)
            .collect())
    }

    /// Lets the programs find a backend; `false` when there is no room.
    pub fn insert(&self, key: &BackendKey, id: InboundId) -> Result<bool, MapError> {
        match bpf::update(self.backends.as_fd(), &bytes(key), &id.0.to_ne_bytes(), 0) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOMEM)) => Ok(false),
            Err(source) => Err(MapError::Io { action: "insert into", map: "INBOUND_BACKENDS", source }),
        }
    }

    /// Hides a backend from the programs.
    pub fn delete(&self, key: &BackendKey) -> Result<(), MapError> {
        let deleted = bpf::delete(self.backends.as_fd(), &bytes(key));
        deleted.map(drop).map_err(|source| MapError::Io { action: "delete from", map: "INBOUND_BACKENDS", source })
    }

    /// An entry, mapped into memory if it was not.
    pub fn entry(&mut self, id: InboundId) -> Result<&Inbound, MapError> {
        let index = id.0 as usize;
        self.inbound.show(index + 1)?;
        self.inbound.slice().get(index).ok_or(MapError::OutOfRange { map: "INBOUND", index: index as u64 })
    }

    /// Keeps these entries mapped, from the first on.
    pub fn forget_beyond(&mut self, entries: usize) -> Result<(), MapError> {
        self.inbound.hide(entries)
    }

    /// Every record of a connection.
    pub fn connections(&self) -> Result<Vec<InboundKey>, MapError> {
        let (keys, _) = bpf::read_all(self.connections.as_fd(), KEY, size_of::<u64>())
            .map_err(|source| MapError::Io { action: "read", map: "INBOUND_CONNECTIONS", source })?;
        Ok(keys.as_chunks().0.iter().map(InboundKey::from_bytes).collect())
    }

    /// Removes a record of a backend that the programs do not find any more.
    pub fn forget(&self, key: &InboundKey) -> Result<(), MapError> {
        let deleted = bpf::delete(self.connections.as_fd(), &key.bytes());
        deleted.map(drop).map_err(|source| MapError::Io { action: "delete from", map: "INBOUND_CONNECTIONS", source })
    }
}

fn bytes(key: &BackendKey) -> [u8; wire::FRONTEND] {
    wire::frontend(&FrontendKey::new(key.address, key.port, key.protocol))
}

/// The same maps as they are read for people.
#[derive(Debug)]
pub struct InboundFigures {
    backends: OwnedFd,
    inbound: OwnedFd,
    packets: OwnedFd,
}

/// What is counted of one backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InboundCounts {
    /// Connections open now.
    pub active: u64,
    /// The limit in force.
    pub limit: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// SYNs that were refused.
    pub refused: u64,
    /// Handshakes that were reset.
    pub reset: u64,
    /// The limit that is observed.
    pub observed_limit: u64,
    /// SYNs that it would have refused.
    pub observed: u64,
}

impl InboundFigures {
    /// As the maps are pinned.
    pub fn open(pins: &Pins) -> Result<Self, datapath::Error> {
        let [backends, inbound, packets] =
            ["INBOUND_BACKENDS", "INBOUND", "PACKET_COUNTS"].map(|name| pins.open_map(name));
        Ok(Self { backends: backends?, inbound: inbound?, packets: packets? })
    }

    /// What is counted of a backend; `None` for one without a limit.
    pub fn of(&self, key: &BackendKey) -> Option<InboundCounts> {
        let mut id = [0; size_of::<InboundId>()];
        let mut words = [0; size_of::<Inbound>()];
        let found = bpf::lookup(self.backends.as_fd(), &bytes(key), &mut id).ok()?
            && bpf::lookup(self.inbound.as_fd(), &id, &mut words).ok()?;
        let word = |at: usize| u64::from_ne_bytes(words.as_chunks().0[at / 8]);
        found.then(|| InboundCounts {
            active: word(std::mem::offset_of!(Inbound, active)),
            limit: word(std::mem::offset_of!(Inbound, limit)),
            opened: word(std::mem::offset_of!(Inbound, opened)),
            refused: word(std::mem::offset_of!(Inbound, refused)),
            reset: word(std::mem::offset_of!(Inbound, reset)),
            observed_limit: word(std::mem::offset_of!(Inbound, observed_limit)),
            observed: word(std::mem::offset_of!(Inbound, observed)),
        })
    }

    /// How many packets were dropped or refused for a reason.
    pub fn packets(&self, reason: mesh_common::packet::PacketReason) -> io::Result<u64> {
        let mut count = [0; size_of::<u64>()];
        bpf::lookup(self.packets.as_fd(), &(reason as u32).to_ne_bytes(), &mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}
