//! The maps of the programs that run: arrays mapped into memory, hashes by system call.

#![expect(unsafe_code, reason = "arrays of the kernel's, mapped into memory")]

use super::arrays::{Arrays, BackendCell, SlotCell};
use super::fresh::MMAPABLE;
use super::{MapError, Maps, Stopped, wire};
use crate::bpf;
use crate::plan::{Sizes, Table};
use aya_obj::generated::bpf_map_type;
use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::reason::Reason;
use mesh_common::tables::{Connection, FILTER_WORDS, FrontendKey, Outlier, Service, ServiceId, Settings, Traffic};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;

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
        let filter = Mapped::<Atomic64>::new("FILTER", fds.filter, size_of::<u64>())?;
        let reason_counts = Mapped::<Atomic64>::new("REASON_COUNTS", fds.reason_counts, size_of::<u64>())?;
        let settings = Mapped::<Settings>::new("SETTINGS", fds.settings, size_of::<Settings>())?;
        let size = |map, len: usize, expected| shape(map, "its size", len as u32, expected);
        size("FILTER", filter.len, FILTER_WORDS)?;
        size("TRAFFIC", traffic.len, services.len as u32)?;
        size("OUTLIERS", outliers.len, services.len as u32)?;
        size("REASON_COUNTS", reason_counts.len, services.len as u32 * Reason::COLUMNS)?;
        size("SETTINGS", settings.len, 1)?;
        Ok(Self {
            sizes: Sizes {
                frontends,
                addresses,
                services: services.len as u32,
                slots: slots.len as u32,
                backends: backends.len as u32,
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
            reason_counts,
            settings,
        })
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
            filter: self.filter.slice(),
            reason_counts: self.reason_counts.slice(),
            settings: &self.settings.slice()[0],
        }
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

/// An array of the kernel's, shared with the programs.
#[derive(Debug)]
struct Mapped<T> {
    at: NonNull<T>,
    len: usize,
    bytes: NonZeroUsize,
    // The mapping outlives the descriptor; it is kept so that the map has an owner as long as it is used.
    _fd: OwnedFd,
}

// SAFETY: T is Sync (its words are atomic), and the mapping belongs to the process, not to a thread.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above: shared references to T are all that is given out.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    fn new(map: &'static str, fd: OwnedFd, value_size: usize) -> Result<Self, MapError> {
        // The kernel's stride: array_map_alloc() rounds the value's size up to 8.
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
        debug_assert_eq!(value_size.next_multiple_of(8), size_of::<T>());
        let info = bpf::map_info(fd.as_fd()).map_err(|source| MapError::Io { action: "inspect", map, source })?;
        shape(map, "its type", info.type_, bpf_map_type::BPF_MAP_TYPE_ARRAY as u32)?;
        shape(map, "its key's size", info.key_size, size_of::<u32>() as u32)?;
        shape(map, "its value's size", info.value_size, value_size as u32)?;
        shape(map, "its flag BPF_F_MMAPABLE", info.map_flags & MMAPABLE, MMAPABLE)?;
        let len = info.max_entries as usize;
        let empty = MapError::Shape { map, what: "its size", found: 0, expected: 1 };
        let bytes = NonZeroUsize::new(len * size_of::<T>()).ok_or(empty)?;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing of ours lies there.
        let at =
            unsafe { mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &fd, 0) }
                .map_err(|errno| MapError::Io { action: "map into memory", map, source: errno.into() })?;
        Ok(Self { at: at.cast(), len, bytes, _fd: fd })
    }

    fn slice(&self) -> &[T] {
        // SAFETY: `len` values of `T`'s size lie at `at` (a page boundary) until drop; every bit pattern is a `T` (plain
        // integers), and every word that others write is atomic.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; no slice outlives `self`.
        let unmapped = unsafe { munmap(self.at.cast::<c_void>(), self.bytes.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

fn check_hash(map: &'static str, fd: BorrowedFd<'_>, key: usize, value: usize) -> Result<u32, MapError> {
    let info = bpf::map_info(fd).map_err(|source| MapError::Io { action: "inspect", map, source })?;
    shape(map, "its type", info.type_, bpf_map_type::BPF_MAP_TYPE_HASH as u32)?;
    shape(map, "its key's size", info.key_size, key as u32)?;
    shape(map, "its value's size", info.value_size, value as u32)?;
    Ok(info.max_entries)
}

fn shape(map: &'static str, what: &'static str, found: u32, expected: u32) -> Result<(), MapError> {
    if found == expected { Ok(()) } else { Err(MapError::Shape { map, what, found, expected }) }
}
