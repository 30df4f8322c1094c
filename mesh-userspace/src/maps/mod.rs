//! The kernel's maps as the agent writes and reads them.
//!
//! | module | holds |
//! |---|---|
//! | [`arrays`] | arrays as shared memory: every word is read and written in one access |
//! | [`kernel`] | the maps of the programs that run |
//! | `mapped` | one array, mapped as far as it is used |
//! | [`memory`] | the same without a kernel: for `mesh plan` and tests |
//! | [`inbound`] | those of limits on what arrives at backends |
//! | [`grace`] | waiting until no program that runs can have seen what was |

pub mod arrays;
mod error;
mod fresh;
pub mod grace;
pub mod inbound;
pub mod kernel;
mod mapped;
pub mod memory;
pub mod wire;
mod write;

#[cfg(test)]
mod conformance;

pub use arrays::Arrays;
pub use error::{MapError, Stopped};
pub use kernel::{KernelFds, KernelMaps};
pub use memory::MemoryMaps;

use crate::plan::{MapOp, Sizes};
use mesh_common::address::Address;
use mesh_common::tables::{Connection, FrontendKey, ServiceId};

/// The maps that the agent fills. One agent writes them; programs read, and count.
pub trait Maps {
    /// How many entries each table takes.
    fn sizes(&self) -> Sizes;

    /// The arrays, at least as far as they are in use.
    fn arrays(&self) -> Arrays<'_>;

    /// Does a step that stores to arrays. Steps on hashes have their own methods.
    fn write(&mut self, op: &MapOp) -> Result<(), MapError> {
        write::to_arrays(&self.arrays(), op)
    }

    /// Entries from these indices on are not in use: they need not be in [`Self::arrays`] until a step writes them.
    fn forget_beyond(&mut self, _used: &Sizes) -> Result<(), MapError> {
        Ok(())
    }

    /// Inserts elements whose keys are absent, in order, until one fails.
    fn insert_frontends(&mut self, elements: &[(FrontendKey, ServiceId)]) -> Result<(), Stopped>;

    /// Removes an element; one that is not there is removed already.
    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), MapError>;

    /// Reads one element.
    fn frontend(&self, key: &FrontendKey) -> Result<Option<ServiceId>, MapError>;

    /// Reads every element, in no order.
    fn frontends(&self) -> Result<Vec<(FrontendKey, ServiceId)>, MapError>;

    /// Inserts elements whose keys are absent, in order, until one fails.
    fn insert_addresses(&mut self, elements: &[(Address, ServiceId)]) -> Result<(), Stopped>;

    /// Removes an element; one that is not there is removed already.
    fn delete_address(&mut self, address: &Address) -> Result<(), MapError>;

    /// Reads one element.
    fn address(&self, address: &Address) -> Result<Option<ServiceId>, MapError>;

    /// Reads every element, in no order.
    fn addresses(&self) -> Result<Vec<(Address, ServiceId)>, MapError>;

    /// Reads every open connection by its socket's cookie. Those that come and go meanwhile may or may not be in it.
    fn connections(&self) -> Result<Vec<(u64, Connection)>, MapError>;

    /// Removes a connection and returns what was removed: who gets it gives its slots back.
    fn take_connection(&mut self, cookie: u64) -> Result<Option<Connection>, MapError>;

    /// Puts back a connection that was taken by mistake, unless the socket has another by now (`false`).
    fn restore_connection(&mut self, cookie: u64, connection: &Connection) -> Result<bool, MapError>;
}
