//! What does not fit, named with the table, its size and the flag that raises it.

use super::BackendKey;
use mesh_common::address::Address;
use mesh_common::tables::{FrontendKey, sizes};
use std::fmt;

/// A table that can be full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Table {
    /// `FRONTENDS`.
    Frontends,
    /// `ADDRESSES`.
    Addresses,
    /// `SERVICES`.
    Services,
    /// `SLOTS`.
    Slots,
    /// `BACKENDS`.
    Backends,
}

impl Table {
    /// The map's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frontends => "FRONTENDS",
            Self::Addresses => "ADDRESSES",
            Self::Services => "SERVICES",
            Self::Slots => "SLOTS",
            Self::Backends => "BACKENDS",
        }
    }

    /// The agent's option that sets its size.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Frontends => "--max-frontends",
            Self::Addresses => "--max-addresses",
            Self::Services => "--max-services",
            Self::Slots => "--max-slots",
            Self::Backends => "--max-backends",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Entries of each table that the agent fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Elements of `FRONTENDS`.
    pub frontends: u32,
    /// Elements of `ADDRESSES`.
    pub addresses: u32,
    /// Entries of `SERVICES`, the unused entry 0 included.
    pub services: u32,
    /// Positions of `SLOTS`.
    pub slots: u32,
    /// Entries of `BACKENDS`, the unused entry 0 included.
    pub backends: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            frontends: sizes::FRONTENDS,
            addresses: sizes::ADDRESSES,
            services: sizes::SERVICES,
            slots: sizes::SLOTS,
            backends: sizes::BACKENDS,
        }
    }
}

impl Sizes {
    /// The size of one table.
    pub const fn of(&self, table: Table) -> u32 {
        match table {
            Table::Frontends => self.frontends,
            Table::Addresses => self.addresses,
            Table::Services => self.services,
            Table::Slots => self.slots,
            Table::Backends => self.backends,
        }
    }
}

/// A part of a Service that the tables cannot take now. What it last was goes on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No entry is left for a port.
    #[error("SERVICES is full ({size} entries): {port} is not served")]
    Services {
        /// What clients would dial.
        port: PortName,
        /// The table's size.
        size: u32,
    },
    /// No entry is left for some backends.
    #[error("BACKENDS is full ({size} entries): {left_out} endpoints take no connections, {first} among them")]
    Backends {
        /// How many are left out.
        left_out: u32,
        /// The first of them.
        first: BackendKey,
        /// The table's size.
        size: u32,
    },
    /// No range is left for a port's slots.
    #[error(
        "SLOTS ({size} entries) has no free range of {wanted}, the largest is {largest} of {free} free: {port} is served \
         by {served} of its endpoints"
    )]
    Slots {
        /// What clients dial.
        port: PortName,
        /// The length that was needed.
        wanted: u32,
        /// How many endpoints take connections all the same.
        served: u32,
        /// The longest free range.
        largest: u32,
        /// Free positions in all.
        free: u32,
        /// The table's size.
        size: u32,
    },
    /// The hash table took no more.
    #[error("FRONTENDS is full ({size} entries): {key} is not served")]
    Frontends {
        /// What clients would dial.
        key: FrontendKey,
        /// The table's size.
        size: u32,
    },
    /// The hash table took no more.
    #[error("ADDRESSES is full ({size} entries): ports of {address} that the Service does not list are not refused")]
    Addresses {
        /// The Service's address.
        address: Address,
        /// The table's size.
        size: u32,
    },
}

impl Refusal {
    /// The table that is full.
    pub const fn table(&self) -> Table {
        match self {
            Self::Services { .. } => Table::Services,
            Self::Backends { .. } => Table::Backends,
            Self::Slots { .. } => Table::Slots,
            Self::Frontends { .. } => Table::Frontends,
            Self::Addresses { .. } => Table::Addresses,
        }
    }

    /// What to do about it.
    pub fn action(&self) -> String {
        format!("raise {} (it takes `mesh unload` first) or remove Services", self.table().flag())
    }
}

/// A port by the first of what clients dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortName(pub Option<FrontendKey>);

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(key) => key.fmt(f),
            None => f.write_str("a port without an address"),
        }
    }
}
