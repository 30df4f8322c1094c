//! One array of the kernel's, mapped into memory as far as it is used.
//!
//! The kernel maps every page of such an array at once (`array_map_mmap`, `remap_vmalloc_range`), so whatever is mapped counts
//! as this process's memory, touched or not: 36 MB with tables of the default sizes.

#![expect(unsafe_code, reason = "arrays of the kernel's, mapped into memory")]

use super::MapError;
use super::fresh::MMAPABLE;
use super::kernel::shape;
use crate::bpf;
use aya_obj::generated::bpf_map_type;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;

/// Bytes that are mapped at once, a multiple of every page size.
const STEP: usize = 256 * 1024;

/// An array of the kernel's, shared with the programs.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    map: &'static str,
    /// Where it begins. Addresses for all of it are reserved.
    at: NonNull<T>,
    /// Entries in all.
    len: usize,
    /// Bytes in all, up to a whole page.
    bytes: NonZeroUsize,
    /// Bytes that are mapped, from the first on: a multiple of [`STEP`], or all.
    shown: usize,
    fd: OwnedFd,
}

// SAFETY: T is Sync (its words are atomic), and the mapping belongs to the process, not to a thread.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above: shared references to T are all that is given out.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    /// Checks that the map is what this build expects, and maps all of it.
    pub(super) fn new(map: &'static str, fd: OwnedFd, value_size: usize) -> Result<Self, MapError> {
        // The kernel's stride: array_map_alloc() rounds the value's size up to 8.
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
        debug_assert_eq!(value_size.next_multiple_of(8), size_of::<T>());
        let info = bpf::map_info(fd.as_fd()).map_err(|source| MapError::Io { action: "inspect", map, source })?;
        shape(map, "its type", info.type_, bpf_map_type::BPF_MAP_TYPE_ARRAY as u32)?;
        shape(map, "its key's size", info.key_size, size_of::<u32>() as u32)?;
        shape(map, "its value's size", info.value_size, value_size as u32)?;
        shape(map, "its flag BPF_F_MMAPABLE", info.map_flags & MMAPABLE, MMAPABLE)?;
        let len = info.max_entries as usize;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        let empty = MapError::Shape { map, what: "its size", found: 0, expected: 1 };
        let bytes = (len * size_of::<T>()).next_multiple_of(usize::try_from(page).unwrap_or(4096));
        let bytes = NonZeroUsize::new(bytes).ok_or(empty)?;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing of ours lies there.
        let at = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, RESERVED) }
            .map_err(|errno| MapError::Io { action: "reserve addresses for", map, source: errno.into() })?;
        let mut mapped = Self { map, at: at.cast(), len, bytes, shown: 0, fd };
        mapped.show(len)?;
        Ok(mapped)
    }

    /// How many entries it has, mapped or not.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entries that are mapped.
    pub(super) fn slice(&self) -> &[T] {
        let len = self.len.min(self.shown / size_of::<T>());
        // SAFETY: `len` values of `T`'s size lie at `at` (a page boundary) until drop, or until `hide`, which nobody who
        // borrows survives; every bit pattern is a `T` (plain integers), and every word that others write is atomic.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), len) }
    }

    /// Maps so many entries from the first on, at least.
    pub(super) fn show(&mut self, entries: usize) -> Result<(), MapError> {
        let wanted = self.step_above(entries);
        let Some(more) = wanted.checked_sub(self.shown).and_then(NonZeroUsize::new) else { return Ok(()) };
        let (access, flags) =
            (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_FIXED);
        let offset = libc::off_t::try_from(self.shown).unwrap_or(libc::off_t::MAX); // the kernel refuses the latter
        // SAFETY: `at + shown` to `at + wanted` is reserved for this, and no slice reaches there.
        unsafe { mmap(self.address(self.shown), more, access, flags, &self.fd, offset) }
            .map_err(|errno| MapError::Io { action: "map into memory", map: self.map, source: errno.into() })?;
        self.shown = wanted;
        Ok(())
    }

    /// Keeps so many entries from the first on; the others' addresses stay reserved.
    pub(super) fn hide(&mut self, entries: usize) -> Result<(), MapError> {
        let kept = self.step_above(entries);
        let Some(less) = self.shown.checked_sub(kept).and_then(NonZeroUsize::new) else { return Ok(()) };
        // SAFETY: `at + kept` to `at + shown` is ours, and nobody borrows it.
        unsafe { mmap_anonymous(self.address(kept), less, ProtFlags::PROT_NONE, RESERVED | MapFlags::MAP_FIXED) }
            .map_err(|errno| MapError::Io { action: "give back memory of", map: self.map, source: errno.into() })?;
        self.shown = kept;
        Ok(())
    }

    fn step_above(&self, entries: usize) -> usize {
        (entries * size_of::<T>()).next_multiple_of(STEP).min(self.bytes.get())
    }

    fn address(&self, offset: usize) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.at.as_ptr().addr() + offset)
    }
}

const RESERVED: MapFlags = MapFlags::MAP_PRIVATE.union(MapFlags::MAP_NORESERVE);

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mappings made in `new` and `show`; no slice outlives `self`.
        let unmapped = unsafe { munmap(self.at.cast::<c_void>(), self.bytes.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
