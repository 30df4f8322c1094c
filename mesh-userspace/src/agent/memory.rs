//! The allocator: what the agent keeps is small beside what passes through it, and is to show so.

#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "mallopt and malloc_trim have no safe wrappers"))]

/// Has all threads allocate from one arena. What is read on one thread and kept by another leaves holes in each arena
/// else: with 100,000 endpoints 25 MB beside 40 MB in use. Called before there are threads.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time; it sets a number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back to the system what passed through and nothing keeps. Takes milliseconds with 100,000 endpoints.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
