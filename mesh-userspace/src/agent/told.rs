//! What the programs were told in a hash map of which only the keys matter.

use crate::bpf;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A map of `N`-byte keys, and what is in it.
#[derive(Debug)]
pub struct Told<const N: usize> {
    map: OwnedFd,
    keys: HashSet<[u8; N]>,
}

impl<const N: usize> Told<N> {
    /// The map as an earlier agent left it.
    pub fn adopt(map: OwnedFd) -> io::Result<Self> {
        let (keys, _) = bpf::read_all(map.as_fd(), N, size_of::<u32>())?;
        let keys = keys.chunks_exact(N).filter_map(|key| key.try_into().ok()).collect();
        Ok(Self { map, keys })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Puts in what is wanted and takes out what is not. After an error the next call goes on.
    pub fn tell(&mut self, wanted: &HashSet<[u8; N]>) -> io::Result<()> {
        for key in self.keys.difference(wanted).copied().collect::<Vec<_>>() {
            bpf::delete(self.map.as_fd(), &key)?;
            self.keys.remove(&key);
        }
        for key in wanted.difference(&self.keys).copied().collect::<Vec<_>>() {
            bpf::update(self.map.as_fd(), &key, &1_u32.to_ne_bytes(), 0)?;
            self.keys.insert(key);
        }
        Ok(())
    }
}
