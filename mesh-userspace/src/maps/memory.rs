//! The maps without a kernel: for `mesh plan` and tests.

use super::arrays::{Arrays, BackendCell, SlotCell};
use super::{MapError, Maps, Stopped};
use crate::plan::{Sizes, Table};
use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::reason::Reason;
use mesh_common::tables::{
    ClientState, Connection, FILTER_WORDS, FrontendKey, Outlier, Service, ServiceId, Settings, Traffic, UNLIMITED,
};
use std::collections::HashMap;
use std::hash::Hash;

/// Places of `CLIENTS`: nobody connects through these maps.
const PLACES: usize = 16;

/// Maps in ordinary memory, of the given sizes.
#[derive(Debug)]
pub struct MemoryMaps {
    sizes: Sizes,
    frontends: Elements<FrontendKey>,
    addresses: Elements<Address>,
    connections: HashMap<u64, Connection>,
    services: Vec<Service>,
    traffic: Vec<Traffic>,
    outliers: Vec<Outlier>,
    slots: Vec<SlotCell>,
    backends: Vec<BackendCell>,
    clients: Vec<ClientState>,
    filter: Vec<Atomic64>,
    reason_counts: Vec<Atomic64>,
    settings: Box<Settings>,
}

/// A hash as the kernel has it: a freed element is the next key's at once, so that a program that holds an element may
/// find another key's value in it.
#[derive(Debug)]
struct Elements<K> {
    table: Table,
    size: usize,
    places: HashMap<K, usize>,
    values: Vec<ServiceId>,
    free: Vec<usize>,
}

impl<K: Copy + Eq + Hash> Elements<K> {
    fn new(table: Table, size: u32) -> Self {
        Self { table, size: size as usize, places: HashMap::new(), values: Vec::new(), free: Vec::new() }
    }

    fn insert(&mut self, elements: &[(K, ServiceId)]) -> Result<(), Stopped> {
        for (done, &(key, value)) in elements.iter().enumerate() {
            let error = if self.places.contains_key(&key) {
                MapError::Exists(self.table)
            } else if self.places.len() == self.size {
                MapError::Full(self.table)
            } else {
                let element = self.free.pop().unwrap_or(self.values.len());
                self.values.resize(self.values.len().max(element + 1), ServiceId(0));
                self.values[element] = value;
                self.places.insert(key, element);
                continue;
            };
            return Err(Stopped { done, error });
        }
        Ok(())
    }

    fn delete(&mut self, key: &K) {
        self.free.extend(self.places.remove(key));
    }

    fn get(&self, key: &K) -> Option<ServiceId> {
        self.places.get(key).map(|&element| self.values[element])
    }

    fn all(&self) -> Vec<(K, ServiceId)> {
        self.places.iter().map(|(&key, &element)| (key, self.values[element])).collect()
    }
}

fn zeroes(len: u32) -> Vec<Atomic64> {
    (0..len).map(|_| Atomic64::new(0)).collect()
}

impl MemoryMaps {
    /// Empty maps.
    pub fn new(sizes: Sizes) -> Self {
        let service = |_| Service {
            slots: Atomic64::new(0),
            rule: Atomic64::new(0),
            active: Atomic64::new(0),
            max_connections: Atomic64::new(UNLIMITED),
            max_connections_per_backend: Atomic64::new(UNLIMITED),
            opened: Atomic64::new(0),
            cursor: Atomic64::new(0),
            affinity_timeout: Atomic64::new(0),
        };
        let settings = Settings {
            unsampled: Atomic64::new(0),
            event_cost: Atomic64::new(0),
            events_lost: Atomic64::new(0),
            node_netns: Atomic64::new(0),
            left_alone: Atomic64::new(0),
            sources: Atomic64::new(0),
            _reserved: [0; 2],
        };
        Self {
            sizes,
            frontends: Elements::new(Table::Frontends, sizes.frontends),
            addresses: Elements::new(Table::Addresses, sizes.addresses),
            connections: HashMap::new(),
            services: (0..sizes.services).map(service).collect(),
            traffic: (0..sizes.services).map(|_| Traffic::new()).collect(),
            outliers: (0..sizes.services).map(|_| Outlier::new()).collect(),
            slots: (0..sizes.slots).map(|_| SlotCell::default()).collect(),
            backends: (0..sizes.backends).map(|_| BackendCell::free()).collect(),
            clients: (0..PLACES).map(|_| ClientState::new()).collect(),
            filter: zeroes(FILTER_WORDS),
            reason_counts: zeroes(sizes.services * Reason::COLUMNS),
            settings: Box::new(settings),
        }
    }

    /// The element that a frontend has, as a program would hold it.
    pub fn frontend_element(&self, key: &FrontendKey) -> Option<usize> {
        self.frontends.places.get(key).copied()
    }

    /// What an element says now, whosever it is.
    pub fn element_value(&self, element: usize) -> ServiceId {
        self.frontends.values[element]
    }

    /// Puts in a connection, as a program does.
    pub fn insert_connection(&mut self, cookie: u64, connection: Connection) {
        self.connections.insert(cookie, connection);
    }
}

impl Maps for MemoryMaps {
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn arrays(&self) -> Arrays<'_> {
        Arrays {
            services: &self.services,
            traffic: &self.traffic,
            outliers: &self.outliers,
            slots: &self.slots,
            backends: &self.backends,
            clients: &self.clients,
            filter: &self.filter,
            reason_counts: &self.reason_counts,
            settings: &self.settings,
        }
    }

    fn insert_frontends(&mut self, elements: &[(FrontendKey, ServiceId)]) -> Result<(), Stopped> {
        self.frontends.insert(elements)
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), MapError> {
        self.frontends.delete(key);
        Ok(())
    }

    fn frontend(&self, key: &FrontendKey) -> Result<Option<ServiceId>, MapError> {
        Ok(self.frontends.get(key))
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, ServiceId)>, MapError> {
        Ok(self.frontends.all())
    }

    fn insert_addresses(&mut self, elements: &[(Address, ServiceId)]) -> Result<(), Stopped> {
        self.addresses.insert(elements)
    }

    fn delete_address(&mut self, address: &Address) -> Result<(), MapError> {
        self.addresses.delete(address);
        Ok(())
    }

    fn address(&self, address: &Address) -> Result<Option<ServiceId>, MapError> {
        Ok(self.addresses.get(address))
    }

    fn addresses(&self) -> Result<Vec<(Address, ServiceId)>, MapError> {
        Ok(self.addresses.all())
    }

    fn connections(&self) -> Result<Vec<(u64, Connection)>, MapError> {
        Ok(self.connections.iter().map(|(&cookie, &connection)| (cookie, connection)).collect())
    }

    fn take_connection(&mut self, cookie: u64) -> Result<Option<Connection>, MapError> {
        Ok(self.connections.remove(&cookie))
    }

    fn restore_connection(&mut self, cookie: u64, connection: &Connection) -> Result<bool, MapError> {
        Ok(match self.connections.entry(cookie) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(*connection);
                true
            }
        })
    }
}
