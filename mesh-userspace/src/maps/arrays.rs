//! The arrays as memory that the agent and the programs share.
//!
//! The same layout as [`mesh_common::tables`], but every word is atomic: nothing here is borrowed mutably, because the
//! programs write at the same time.

use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::reason::Reason;
use mesh_common::tables::{
    Backend, BackendId, ClientState, FILTER_WORDS, Outlier, Service, ServiceId, Settings, Traffic,
};
use std::mem::{align_of, offset_of};
use std::sync::atomic::{AtomicU32, Ordering};

/// A position of `SLOTS`. The kernel rounds an array's stride up to 8 bytes (`array_map_alloc`).
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub struct SlotCell {
    backend: AtomicU32,
    _stride: u32,
}

impl SlotCell {
    /// What it says.
    pub fn load(&self) -> BackendId {
        BackendId(self.backend.load(Ordering::Acquire))
    }

    /// Changes it in one store.
    pub fn store(&self, id: BackendId) {
        self.backend.store(id.0, Ordering::Release);
    }
}

/// An entry of `BACKENDS`: [`Backend`] with its address as words that can be written in place.
#[repr(C)]
#[derive(Debug)]
pub struct BackendCell {
    address: [Atomic64; 2],
    /// [`Backend::tag`].
    pub tag: Atomic64,
    /// [`Backend::active`].
    pub active: Atomic64,
    /// [`Backend::weight`].
    pub weight: Atomic64,
    /// [`Backend::since`].
    pub since: Atomic64,
    /// [`Backend::standing`].
    pub standing: Atomic64,
    /// [`Backend::answer`].
    pub answer: Atomic64,
}

const _: () = assert!(size_of::<SlotCell>() == 8);
const _: () = assert!(size_of::<BackendCell>() == size_of::<Backend>() && align_of::<BackendCell>() == 8);
const _: () = assert!(offset_of!(BackendCell, address) == offset_of!(Backend, address));
const _: () = assert!(offset_of!(BackendCell, tag) == offset_of!(Backend, tag));
const _: () = assert!(offset_of!(BackendCell, active) == offset_of!(Backend, active));
const _: () = assert!(offset_of!(BackendCell, weight) == offset_of!(Backend, weight));
const _: () = assert!(offset_of!(BackendCell, since) == offset_of!(Backend, since));
const _: () = assert!(offset_of!(BackendCell, standing) == offset_of!(Backend, standing));
const _: () = assert!(offset_of!(BackendCell, answer) == offset_of!(Backend, answer));

impl BackendCell {
    /// An entry that is free.
    pub const fn free() -> Self {
        Self {
            address: [const { Atomic64::new(0) }; 2],
            tag: Atomic64::new(0),
            active: Atomic64::new(0),
            weight: Atomic64::new(0),
            since: Atomic64::new(0),
            standing: Atomic64::new(0),
            answer: Atomic64::new(0),
        }
    }

    /// The endpoint's address.
    pub fn address(&self) -> Address {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address[0].load().to_ne_bytes());
        bytes[8..].copy_from_slice(&self.address[1].load().to_ne_bytes());
        Address(bytes)
    }

    /// Sets the address of an entry that nothing refers to.
    pub fn set_address(&self, address: &Address) {
        let (low, high) = address.0.split_at(8);
        for (word, bytes) in self.address.iter().zip([low, high]) {
            let mut half = [0; 8];
            half.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(half));
        }
    }
}

/// Every array that the agent writes or reads.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a> {
    /// `SERVICES`.
    pub services: &'a [Service],
    /// `TRAFFIC`.
    pub traffic: &'a [Traffic],
    /// `OUTLIERS`.
    pub outliers: &'a [Outlier],
    /// `SLOTS`.
    pub slots: &'a [SlotCell],
    /// `BACKENDS`.
    pub backends: &'a [BackendCell],
    /// `CLIENTS`.
    pub clients: &'a [ClientState],
    /// `FILTER`: [`FILTER_WORDS`] words.
    pub filter: &'a [Atomic64],
    /// `REASON_COUNTS`: [`Reason::COLUMNS`] for each Service.
    pub reason_counts: &'a [Atomic64],
    /// `SETTINGS`.
    pub settings: &'a Settings,
}

impl<'a> Arrays<'a> {
    /// An entry of `SERVICES`; `None` for 0, which is none, and beyond the end.
    pub fn service(&self, id: ServiceId) -> Option<&'a Service> {
        self.services.get(id.0 as usize).filter(|_| id.0 != 0)
    }

    /// An account's entry of `TRAFFIC`; `None` for 0, which is none, and beyond the end.
    pub fn traffic(&self, account: ServiceId) -> Option<&'a Traffic> {
        self.traffic.get(account.0 as usize).filter(|_| account.0 != 0)
    }

    /// An account's entry of `OUTLIERS`; `None` for 0, which is none, and beyond the end.
    pub fn outlier(&self, account: ServiceId) -> Option<&'a Outlier> {
        self.outliers.get(account.0 as usize).filter(|_| account.0 != 0)
    }

    /// An entry of `BACKENDS`; `None` for 0, which is none, and beyond the end.
    pub fn backend(&self, id: BackendId) -> Option<&'a BackendCell> {
        self.backends.get(id.0 as usize).filter(|_| id.0 != 0)
    }

    /// The counters of one Service's reasons, in the order of their numbers.
    pub fn reasons(&self, id: ServiceId) -> Option<&'a [Atomic64]> {
        let columns = Reason::COLUMNS as usize;
        self.reason_counts.get(id.0 as usize * columns..)?.get(..columns)
    }

    /// A word of `FILTER`.
    pub fn filter_word(&self, word: u32) -> Option<&'a Atomic64> {
        debug_assert_eq!(self.filter.len(), FILTER_WORDS as usize);
        self.filter.get(word as usize)
    }
}
