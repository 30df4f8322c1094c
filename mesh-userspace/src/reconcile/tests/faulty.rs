//! Maps that fail when they are told to, and that are looked at after every single step.

use super::reader::Readers;
use super::world::Numbers;
use crate::maps::{Arrays, MapError, Maps, MemoryMaps, Stopped};
use crate::plan::{MapOp, Sizes};
use mesh_common::address::Address;
use mesh_common::tables::{Connection, FrontendKey, ServiceId};
use std::io;

/// Maps with faults.
pub struct Faulty {
    pub maps: MemoryMaps,
    pub readers: Readers,
    numbers: Numbers,
    /// One step in this many fails; 0 for none.
    pub fails_one_in: u64,
    /// Steps until the agent is killed; none are done after that.
    pub killed_after: Option<u64>,
    /// Steps done or tried.
    pub steps: u64,
}

/// What becomes of a step.
enum Fate {
    Done,
    /// Not done, and said so.
    Failed,
    /// Done, but said not to be.
    Doubtful,
}

fn fault(map: &'static str) -> MapError {
    MapError::Io { action: "pretend to change", map, source: io::Error::from_raw_os_error(libc::EBUSY) }
}

impl Faulty {
    pub fn new(maps: MemoryMaps, seed: u64) -> Self {
        Self {
            maps,
            readers: Readers::default(),
            numbers: Numbers(seed),
            fails_one_in: 0,
            killed_after: None,
            steps: 0,
        }
    }

    fn fate(&mut self) -> Fate {
        self.steps += 1;
        if let Some(left) = &mut self.killed_after {
            if *left == 0 {
                return Fate::Failed;
            }
            *left -= 1;
            return Fate::Done;
        }
        if self.fails_one_in == 0 || !self.numbers.one_in(self.fails_one_in) {
            Fate::Done
        } else if self.numbers.one_in(2) {
            Fate::Failed
        } else {
            Fate::Doubtful
        }
    }

    fn step<T>(
        &mut self,
        map: &'static str,
        step: impl FnOnce(&mut MemoryMaps) -> Result<T, MapError>,
    ) -> Result<T, MapError> {
        let fate = self.fate();
        if let Fate::Failed = fate {
            return Err(fault(map));
        }
        let result = step(&mut self.maps);
        self.readers.check(&self.maps);
        if let Fate::Doubtful = fate { Err(fault(map)) } else { result }
    }

    fn each<E: Copy>(
        &mut self,
        map: &'static str,
        elements: &[E],
        insert: impl Fn(&mut MemoryMaps, &[E]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        for (done, element) in elements.iter().enumerate() {
            self.step(map, |maps| insert(maps, &[*element]).map_err(|stopped| stopped.error))
                .map_err(|error| Stopped { done, error })?;
        }
        Ok(())
    }
}

impl Maps for Faulty {
    fn sizes(&self) -> Sizes {
        self.maps.sizes()
    }

    fn arrays(&self) -> Arrays<'_> {
        self.maps.arrays()
    }

    fn write(&mut self, op: &MapOp) -> Result<(), MapError> {
        // A store to shared memory is done or not done; it cannot be in doubt.
        match self.fate() {
            Fate::Done => {
                self.maps.write(op)?;
                self.readers.check(&self.maps);
                Ok(())
            }
            Fate::Failed | Fate::Doubtful => Err(fault("an array")),
        }
    }

    fn insert_frontends(&mut self, elements: &[(FrontendKey, ServiceId)]) -> Result<(), Stopped> {
        self.each("FRONTENDS", elements, MemoryMaps::insert_frontends)
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), MapError> {
        self.step("FRONTENDS", |maps| maps.delete_frontend(key))
    }

    fn frontend(&self, key: &FrontendKey) -> Result<Option<ServiceId>, MapError> {
        self.maps.frontend(key)
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, ServiceId)>, MapError> {
        self.maps.frontends()
    }

    fn insert_addresses(&mut self, elements: &[(Address, ServiceId)]) -> Result<(), Stopped> {
        self.each("ADDRESSES", elements, MemoryMaps::insert_addresses)
    }

    fn delete_address(&mut self, address: &Address) -> Result<(), MapError> {
        self.step("ADDRESSES", |maps| maps.delete_address(address))
    }

    fn address(&self, address: &Address) -> Result<Option<ServiceId>, MapError> {
        self.maps.address(address)
    }

    fn addresses(&self) -> Result<Vec<(Address, ServiceId)>, MapError> {
        self.maps.addresses()
    }

    fn connections(&self) -> Result<Vec<(u64, Connection)>, MapError> {
        self.maps.connections()
    }

    fn take_connection(&mut self, cookie: u64) -> Result<Option<Connection>, MapError> {
        self.maps.take_connection(cookie)
    }

    fn restore_connection(&mut self, cookie: u64, connection: &Connection) -> Result<bool, MapError> {
        self.maps.restore_connection(cookie, connection)
    }
}
