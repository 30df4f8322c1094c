//! The board on which all processes of a storm count: shared memory, since a process that is killed tells nothing.

use super::Count;
use anyhow::{Context, Result, ensure};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Words of the whole storm: how many are open, the most that were, and whether to stop.
const OPEN: usize = 0;
const MOST_OPEN: usize = 1;
const STOP: usize = 2;
/// Each process has a cache line of its own, and so have the words above.
const LINE: usize = 8;
/// Words of a process: what it holds, with [`MOVING`] while the storm's count is being changed; and its totals.
const HELD: usize = 0;
const CONNECTED: usize = 1;
const REFUSED: usize = 2;
const FAILED: usize = 3;
const ERRNO: usize = 4;
const MOVING: u64 = 1 << 63;

/// Shared counters of a storm.
#[derive(Debug)]
pub struct Board {
    words: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: the memory is shared between processes already; every access is atomic.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// Makes the file for so many processes.
    pub fn create(path: &Path, processes: usize) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = file.with_context(|| format!("make {}", path.display()))?;
        file.set_len(((1 + processes) * LINE * size_of::<u64>()) as u64).context("size the storm's board")?;
        Self::map(&file)
    }

    /// Opens the file that the test made.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        Self::map(&file.with_context(|| format!("open {}", path.display()))?)
    }

    fn map(file: &File) -> Result<Self> {
        let bytes = usize::try_from(file.metadata().context("read the board's size")?.len())?;
        let length = NonZeroUsize::new(bytes).context("the board is empty")?;
        ensure!(bytes.is_multiple_of(LINE * size_of::<u64>()), "the board is {bytes} bytes long");
        // SAFETY: a new mapping at an address of the kernel's choice; nobody shortens the file.
        let start =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, file, 0) };
        Ok(Self { words: start.context("map the storm's board")?.cast(), length: bytes / size_of::<u64>() })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this length, is aligned to a page, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.length) }
    }

    fn process(&self, number: usize) -> &[AtomicU64] {
        &self.words()[(1 + number) * LINE..][..LINE]
    }

    /// After a `connect()` that worked.
    pub fn opened(&self, number: usize) {
        let own = self.process(number);
        own[CONNECTED].fetch_add(1, SeqCst);
        let held = own[HELD].load(SeqCst) + 1;
        own[HELD].store(held | MOVING, SeqCst);
        let open = self.words()[OPEN].fetch_add(1, SeqCst) + 1;
        own[HELD].store(held, SeqCst);
        self.words()[MOST_OPEN].fetch_max(open, SeqCst);
    }

    /// Before a `close()`.
    pub fn closing(&self, number: usize) {
        let own = self.process(number);
        let held = own[HELD].load(SeqCst) - 1;
        own[HELD].store(held | MOVING, SeqCst);
        self.words()[OPEN].fetch_sub(1, SeqCst);
        own[HELD].store(held, SeqCst);
    }

    /// After a `connect()` that did not work.
    pub fn failed(&self, number: usize, errno: i32) {
        let own = self.process(number);
        if errno == nix::libc::ECONNREFUSED {
            own[REFUSED].fetch_add(1, SeqCst);
        } else {
            own[FAILED].fetch_add(1, SeqCst);
            own[ERRNO].store(u64::from(errno.unsigned_abs()), SeqCst);
        }
    }

    /// Takes what a halted process holds off the storm's count; `false` when it was halted while changing that.
    pub fn count_out(&self, number: usize) -> bool {
        let held = self.process(number)[HELD].load(SeqCst);
        let whole = held & MOVING == 0;
        if whole {
            self.words()[OPEN].fetch_sub(held, SeqCst);
            self.process(number)[HELD].store(0, SeqCst);
        }
        whole
    }

    /// Forgets the most that were open; nobody connects or closes meanwhile.
    pub fn forget_most(&self) {
        self.words()[MOST_OPEN].store(self.words()[OPEN].load(SeqCst), SeqCst);
    }

    /// Tells all processes to end.
    pub fn stop(&self) {
        self.words()[STOP].store(1, SeqCst);
    }

    /// Whether they are to end.
    pub fn stopped(&self) -> bool {
        self.words()[STOP].load(SeqCst) != 0
    }

    /// All of it.
    pub fn count(&self) -> Count {
        let words = self.words();
        let mut count =
            Count { open: words[OPEN].load(SeqCst), most_open: words[MOST_OPEN].load(SeqCst), ..Count::default() };
        for own in words[LINE..].chunks(LINE) {
            count.connected += own[CONNECTED].load(SeqCst);
            count.refused += own[REFUSED].load(SeqCst);
            count.failed += own[FAILED].load(SeqCst);
            count.errno = count.errno.max(own[ERRNO].load(SeqCst));
        }
        count
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `map`, and nothing borrowed from it outlives `self`.
        unsafe { munmap(self.words.cast(), self.length * size_of::<u64>()) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_counted_out_leaves_the_others() {
        let path = std::env::temp_dir().join(format!("mesh-board-{}", std::process::id()));
        let (board, other) = (Board::create(&path, 2).unwrap(), Board::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        for number in [0, 0, 1] {
            other.opened(number);
        }
        other.closing(0);
        other.failed(1, nix::libc::ECONNREFUSED);
        other.failed(1, nix::libc::ENETUNREACH);
        let count = board.count();
        assert_eq!((count.open, count.most_open, count.connected), (2, 3, 3));
        assert_eq!((count.refused, count.failed, count.errno), (1, 1, 101));
        assert!(board.count_out(0));
        assert_eq!(other.count().open, 1);
        board.process(1)[HELD].fetch_or(MOVING, SeqCst);
        assert!(!board.count_out(1), "halted in the midst of a change");
        board.stop();
        assert!(other.stopped());
    }
}
