//! The cgroup whose sockets are served.

use super::Error;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An open cgroup2 directory.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: File,
    id: u64,
}

impl Cgroup {
    /// Opens a directory of a cgroup2 file system.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = File::open(path).map_err(Error::io("open", path))?;
        let kind = fstatfs(&directory).map_err(|errno| Error::io("inspect", path)(errno.into()))?;
        if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(Error::NotCgroup2(path.to_path_buf()));
        }
        // A cgroup's id is its directory's inode number (64-bit hosts).
        let id = directory.metadata().map_err(Error::io("inspect", path))?.ino();
        Ok(Self { path: path.to_path_buf(), directory, id })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as the kernel's links tell it.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The root of the cgroup2 hierarchy, wherever it is mounted (`/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on hybrid
/// hosts).
pub fn find() -> Result<PathBuf, Error> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("read", "/proc/self/mountinfo"))?;
    in_mountinfo(&mounts).ok_or(Error::NoCgroup2)
}

/// The first cgroup2 mount of its hierarchy's root, else the first of any part of it (proc(5), mountinfo).
fn in_mountinfo(mounts: &str) -> Option<PathBuf> {
    let mounts = || {
        mounts.lines().filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            (kind.split(' ').next() == Some("cgroup2")).then_some((root, point))
        })
    };
    mounts().find(|(root, _)| *root == "/").or_else(|| mounts().next()).map(|(_, point)| PathBuf::from(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_is_understood() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(in_mountinfo(mounts), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn a_whole_hierarchy_is_preferred_to_a_part() {
        let mounts =
            "1 2 0:3 /kubepods /mnt/part rw - cgroup2 none rw\n4 2 0:3 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(in_mountinfo(mounts), Some("/sys/fs/cgroup".into()));
        assert_eq!(in_mountinfo("1 2 0:3 / /sys/fs/cgroup rw - cgroup none rw\n"), None);
    }
}
