//! The maps of the programs that run: arrays mapped into memory, hashes by system call.

use super::arrays::{Arrays, BackendCell, SlotCell};
use super::mapped::Mapped;
use super::{MapError, Maps, Stopped, wire, write};
use crate::bpf;
use crate::plan::{MapOp, Sizes, Table};
use aya_obj::generated::bpf_map_type;
use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::reason::Reason;
use mesh_common::tables::{
    ClientState, Connection, FILTER_WORDS, FrontendKey, Outlier, Service, ServiceId, Settings, Traffic, sizes,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The maps' descriptors, by name. Loaded or opened from pins by `datapath`.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the map of its name")]
pub struct KernelFds {
    pub frontends: OwnedFd,
    pub addresses: OwnedFd,
    pub filter: OwnedFd,
    pub services: OwnedFd,
    pub traffic: OwnedFd,
    pub outliers: OwnedFd,
    pub slots: OwnedFd,
    pub backends: OwnedFd,
    pub clients: OwnedFd,
    pub connections: OwnedFd,
    pub reason_counts: OwnedFd,
    pub settings: OwnedFd,
}

/// The maps of the programs that run.
#[derive(Debug)]
pub struct KernelMaps {
    sizes: Sizes,
    frontends: Elements,
    addresses: Elements,
    connections: OwnedFd,
    filter: Mapped<Atomic64>,
    services: Mapped<Service>,
    traffic: Mapped<Traffic>,
    outliers: Mapped<Outlier>,
    slots: Mapped<SlotCell>,
    backends: Mapped<BackendCell>,
    clients: Mapped<ClientState>,
    reason_counts: Mapped<Atomic64>,
    settings: Mapped<Settings>,
}

impl KernelMaps {
    /// Checks that the maps are what this build expects, and maps the arrays into memory.
    pub fn new(fds: KernelFds) -> Result<Self, MapError> {
        let frontends = check_hash("FRONTENDS", fds.frontends.as_fd(), wire::FRONTEND, wire::SERVICE_ID)?;
        let addresses = check_hash("ADDRESSES", fds.addresses.as_fd(), wire::ADDRESS, wire::SERVICE_ID)?;
        check_hash("CONNECTIONS", fds.connections.as_fd(), wire::COOKIE, wire::CONNECTION)?;
        let services = Mapped::<Service>::new("SERVICES", fds.services, size_of::<Service>())?;
        let traffic = Mapped::<Traffic>::new("TRAFFIC", fds.traffic, size_of::<Traffic>())?;
        let outliers = Mapped::<Outlier>::new("OUTLIERS", fds.outliers, size_of::<Outlier>())?;
        let slots = Mapped::<SlotCell>::new("SLOTS", fds.slots, size_of::<u32>())?;
        let backends = Mapped::<BackendCell>::new("BACKENDS", fds.backends, size_of::<BackendCell>())?;
        let clients = Mapped::<ClientState>::new("CLIENTS", fds.clients, size_of::<ClientState>())?;
        let filter = Mapped::<Atomic64>::new("FILTER", fds.filter, size_of::<u64>())?;
        let reason_counts = Mapped::<Atomic64>::new("REASON_COUNTS", fds.reason_counts, size_of::<u64>())?;
        let settings = Mapped::<Settings>::new("SETTINGS", fds.settings, size_of::<Settings>())?;
        let size = |map, len: usize, expected| shape(map, "its size", len as u32, expected);
        size("FILTER", filter.len(), FILTER_WORDS)?;
        size("TRAFFIC", traffic.len(), services.len() as u32)?;
        size("OUTLIERS", outliers.len(), services.len() as u32)?;
        size("CLIENTS", clients.len(), sizes::CLIENTS)?;
        size("REASON_COUNTS", reason_counts.len(), services.len() as u32 * Reason::COLUMNS)?;
        size("SETTINGS", settings.len(), 1)?;
        Ok(Self {
            sizes: Sizes {
                frontends,
                addresses,
                services: services.len() as u32,
                slots: slots.len() as u32,
                backends: backends.len() as u32,
            },
            frontends: Elements { table: Table::Frontends, fd: fds.frontends },
            addresses: Elements { table: Table::Addresses, fd: fds.addresses },
            connections: fds.connections,
            filter,
            services,
            traffic,
            outliers,
            slots,
            backends,
            clients,
            reason_counts,
            settings,
        })
    }

    /// Maps what a step makes use of for the first time.
    fn show(&mut self, op: &MapOp) -> Result<(), MapError> {
        match *op {
            MapOp::OpenAccount { id, .. } | MapOp::OpenPort { id, .. } => {
                self.services.show(id.0 as usize + 1)?;
                self.outliers.show(id.0 as usize + 1)?;
                self.reason_counts.show((id.0 as usize + 1) * Reason::COLUMNS as usize)
            }
            MapOp::SetTraffic { account, .. } | MapOp::SetOutlier { account, .. } => {
                self.traffic.show(account.0 as usize + 1)
            }
            MapOp::CreateBackend { id, .. } => self.backends.show(id.0 as usize + 1),
            MapOp::WriteSlots { base, ref backends } | MapOp::RewriteSlots { base, ref backends, .. } => {
                self.slots.show(base as usize + backends.len())
            }
            _ => Ok(()),
        }
    }
}

impl Maps for KernelMaps {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn arrays(&self) -> Arrays<'_> {
        Arrays {
            services: self.services.slice(),
            traffic: self.traffic.slice(),
            outliers: self.outliers.slice(),
            slots: self.slots.slice(),
            backends: self.backends.slice(),
            clients: self.clients.slice(),
            filter: self.filter.slice(),
            reason_counts: self.reason_counts.slice(),
            settings: &self.settings.slice()[0],
        }
    }

    fn write(&mut self, op: &MapOp) -> Result<(), MapError> {
        self.show(op)?;
        write::to_arrays(&self.arrays(), op)
    }

    fn forget_beyond(&mut self, used: &Sizes) -> Result<(), MapError> {
        self.services.hide(used.services as usize)?;
        self.traffic.hide(used.services as usize)?;
        self.outliers.hide(used.services as usize)?;
        self.reason_counts.hide(used.services as usize * Reason::COLUMNS as usize)?;
        self.slots.hide(used.slots as usize)?;
        self.backends.hide(used.backends as usize)
    }

    fn insert_frontends(&mut self, elements: &[(FrontendKey, ServiceId)]) -> Result<(), Stopped> {
        self.frontends.insert(elements, wire::frontend)
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), MapError> {
        self.frontends.delete(&wire::frontend(key))
    }

    fn frontend(&self, key: &FrontendKey) -> Result<Option<ServiceId>, MapError> {
        self.frontends.get(&wire::frontend(key))
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, ServiceId)>, MapError> {
        self.frontends.all(wire::FRONTEND, wire::read_frontend)
    }

    fn insert_addresses(&mut self, elements: &[(Address, ServiceId)]) -> Result<(), Stopped> {
        self.addresses.insert(elements, |address| address.0)
    }

    fn delete_address(&mut self, address: &Address) -> Result<(), MapError> {
        self.addresses.delete(&address.0)
    }

    fn address(&self, address: &Address) -> Result<Option<ServiceId>, MapError> {
        self.addresses.get(&address.0)
    }

    fn addresses(&self) -> Result<Vec<(Address, ServiceId)>, MapError> {
        self.addresses.all(wire::ADDRESS, wire::read_address)
    }

    fn connections(&self) -> Result<Vec<(u64, Connection)>, MapError> {
        let (keys, values) = bpf::read_all(self.connections.as_fd(), wire::COOKIE, wire::CONNECTION)
            .map_err(|source| MapError::Io { action: "read", map: "CONNECTIONS", source })?;
        let cookies = keys.chunks_exact(wire::COOKIE).map(wire::read_cookie);
        Ok(cookies.zip(values.chunks_exact(wire::CONNECTION).map(wire::read_connection)).collect())
    }

    fn take_connection(&mut self, cookie: u64) -> Result<Option<Connection>, MapError> {
        let mut value = [0; wire::CONNECTION];
        let taken = bpf::lookup_and_delete(self.connections.as_fd(), &cookie.to_ne_bytes(), &mut value)
            .map_err(|source| MapError::Io { action: "take from", map: "CONNECTIONS", source })?;
        Ok(taken.then(|| wire::read_connection(&value)))
    }

    fn restore_connection(&mut self, cookie: u64, connection: &Connection) -> Result<bool, MapError> {
        let value = wire::connection(connection);
        match bpf::update(self.connections.as_fd(), &cookie.to_ne_bytes(), &value, bpf::NO_EXIST) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(source) => Err(MapError::Io { action: "put back into", map: "CONNECTIONS", source }),
        }
    }
}

/// A hash whose values are [`ServiceId`]s.
#[derive(Debug)]
struct Elements {
    table: Table,
    fd: OwnedFd,
}

impl Elements {
    fn insert<K, const N: usize>(
        &self,
        elements: &[(K, ServiceId)],
        bytes: impl Fn(&K) -> [u8; N],
    ) -> Result<(), Stopped> {
        // One by one: BPF_MAP_UPDATE_BATCH takes no BPF_NOEXIST (`generic_map_update_batch`: EINVAL), and with it an
        // element that is there is never replaced, whoever put it there. 20,000 elements take some 30 ms.
        for (done, (key, id)) in elements.iter().enumerate() {
            bpf::update(self.fd.as_fd(), &bytes(key), &id.0.to_ne_bytes(), bpf::NO_EXIST)
                .map_err(|error| Stopped { done, error: self.error(error) })?;
        }
        Ok(())
    }

    fn error(&self, source: io::Error) -> MapError {
        match source.raw_os_error() {
            // E2BIG: no free element (preallocated), or the count is at the limit; ENOMEM: the same under pressure.
            Some(libc::E2BIG | libc::ENOMEM) => MapError::Full(self.table),
            Some(libc::EEXIST) => MapError::Exists(self.table),
            _ => MapError::Io { action: "insert into", map: self.table.name(), source },
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        bpf::delete(self.fd.as_fd(), key).map(drop).map_err(|source| MapError::Io {
            action: "delete from",
            map: self.table.name(),
            source,
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<ServiceId>, MapError> {
        let mut value = [0; wire::SERVICE_ID];
        let found = bpf::lookup(self.fd.as_fd(), key, &mut value).map_err(|source| MapError::Io {
            action: "look up in",
            map: self.table.name(),
            source,
        })?;
        Ok(found.then(|| wire::read_service_id(&value)))
    }

    fn all<K>(&self, key_size: usize, read: impl Fn(&[u8]) -> K) -> Result<Vec<(K, ServiceId)>, MapError> {
        let (keys, values) = bpf::read_all(self.fd.as_fd(), key_size, wire::SERVICE_ID)
            .map_err(|source| MapError::Io { action: "read", map: self.table.name(), source })?;
        let ids = values.chunks_exact(wire::SERVICE_ID).map(wire::read_service_id);
        Ok(keys.chunks_exact(key_size).map(read).zip(ids).collect())
    }
}

fn check_hash(map: &'static str, fd: BorrowedFd<'_>, key: usize, value: usize) -> Result<u32, MapError> {
    let info = bpf::map_info(fd).map_err(|source| MapError::Io { action: "inspect", map, source })?;
    shape(map, "its type", info.type_, bpf_map_type::BPF_MAP_TYPE_HASH as u32)?;
    shape(map, "its key's size", info.key_size, key as u32)?;
    shape(map, "its value's size", info.value_size, value as u32)?;
    Ok(info.max_entries)
}

pub(super) fn shape(map: &'static str, what: &'static str, found: u32, expected: u32) -> Result<(), MapError> {
    if found == expected { Ok(()) } else { Err(MapError::Shape { map, what, found, expected }) }
}
