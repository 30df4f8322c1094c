//! Atomic counters in map values, for the programs and the agent at the same time.
//!
//! The kernel target says `atomic-cas: false`, so `core::sync::atomic` lacks read-modify-write there; the BPF
//! instructions exist all the same (`-Ctarget-cpu=v3`) and are reached through the compiler's intrinsics. On the host
//! the same type is [`core::sync::atomic::AtomicU64`], which is how the agent sees a memory-mapped array.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A 64-bit counter or word in a map value. Native byte order, 8-byte aligned.
#[repr(transparent)]
pub struct Atomic64(Inner);

#[cfg(not(target_arch = "bpf"))]
type Inner = AtomicU64;
#[cfg(target_arch = "bpf")]
type Inner = core::cell::UnsafeCell<u64>;

// SAFETY: every access below is one atomic instruction on an aligned 8-byte word.
#[cfg(target_arch = "bpf")]
unsafe impl Sync for Atomic64 {}

impl Atomic64 {
    /// A counter that starts at `value`.
    pub const fn new(value: u64) -> Self {
        Self(Inner::new(value))
    }

    /// The value now.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        #[cfg(not(target_arch = "bpf"))]
        return self.0.load(SeqCst);
        #[cfg(target_arch = "bpf")]
        // SAFETY: an aligned 8-byte load of a live map value.
        return unsafe { core::ptr::read_volatile(self.0.get()) };
    }

    /// Replaces the value in one store: readers see the old or the new, never a mixture.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        #[cfg(not(target_arch = "bpf"))]
        self.0.store(value, SeqCst);
        #[cfg(target_arch = "bpf")]
        // SAFETY: an aligned 8-byte store to a live map value.
        unsafe {
            core::ptr::write_volatile(self.0.get(), value);
        }
    }

    /// Adds and returns what was there before; wraps.
    #[inline(always)]
    pub fn fetch_add(&self, value: u64) -> u64 {
        #[cfg(not(target_arch = "bpf"))]
        return self.0.fetch_add(value, SeqCst);
        #[cfg(target_arch = "bpf")]
        // SAFETY: BPF_ATOMIC|BPF_ADD|BPF_FETCH on a live, aligned map value.
        return unsafe {
            core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::SeqCst }>(self.0.get(), value)
        };
    }

    /// Subtracts and returns what was there before; wraps.
    #[inline(always)]
    pub fn fetch_sub(&self, value: u64) -> u64 {
        self.fetch_add(value.wrapping_neg())
    }

    /// Stores `new` if the value is `current`; `Err` carries what was found instead.
    #[inline(always)]
    pub fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        #[cfg(not(target_arch = "bpf"))]
        return self.0.compare_exchange(current, new, SeqCst, SeqCst);
        #[cfg(target_arch = "bpf")]
        {
            use core::intrinsics::AtomicOrdering::SeqCst;
            // SAFETY: BPF_CMPXCHG on a live, aligned map value.
            let (found, done) =
                unsafe { core::intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(self.0.get(), current, new) };
            if done { Ok(found) } else { Err(found) }
        }
    }
}

impl core::fmt::Debug for Atomic64 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.load().fmt(f)
    }
}
