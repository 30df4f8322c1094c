//! Waiting until no program that runs can have seen what was.
//!
//! A program that was preempted may hold an element or a word that has been replaced since. The kernel says when none
//! does any more: after a change of a map-in-map it waits for every program that runs (`maybe_wait_bpf_programs`,
//! commit 1ae80cf31938, Linux 4.20). So one entry of a map of our own is changed. `membarrier(MEMBARRIER_CMD_GLOBAL)`
//! waits for the same, but not on one processor, and not at all with `nohz_full`.

use crate::bpf;
use aya_obj::generated::bpf_map_type;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Waits for grace periods. Cheap to make, to be kept.
#[derive(Debug)]
pub struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    /// Makes the map that is changed for the wait.
    pub fn new() -> io::Result<Self> {
        let inner = bpf::create_map(&bpf::NewMap {
            kind: bpf_map_type::BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..bpf::NewMap::default()
        })?;
        let outer = bpf::create_map(&bpf::NewMap {
            kind: bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            inner: Some(inner.as_fd()),
            ..bpf::NewMap::default()
        })?;
        Ok(Self { outer, inner })
    }

    /// Blocks until every program that runs now has ended: 8 to 24 ms on an idle machine. Not for the thread that
    /// serves changes.
    pub fn wait(&self) -> io::Result<()> {
        bpf::update(self.outer.as_fd(), &[0; 4], &self.inner.as_raw_fd().to_ne_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_passes() {
        let grace = Grace::new().unwrap();
        for _ in 0..3 {
            let start = std::time::Instant::now();
            grace.wait().unwrap();
            println!("{:?}", start.elapsed());
        }
    }
}
