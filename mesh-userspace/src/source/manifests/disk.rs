//! Files and directories as the system shows them.

use super::names;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a file that is written but not closed must be quiet before it is read.
pub(super) const UNSETTLED: Duration = Duration::from_millis(200);

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) inode: Inode,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file or directory whatever it is called: its device and number.
pub(super) type Inode = (u64, u64);

/// The inode that the metadata belong to.
pub(super) fn inode(meta: &Metadata) -> Inode {
    (meta.dev(), meta.ino())
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            inode: inode(meta),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Whether a file was written so lately that it may still be being written.
pub(super) fn is_fresh(meta: &Metadata) -> bool {
    let age = meta.modified().map(|modified| modified.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age < UNSETTLED))
}

/// The paths in a directory, in the order of their names, without the hidden ones.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !names::is_hidden(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// What a file holds, and which state of it this is.
pub(super) fn content(path: &Path) -> io::Result<(Identity, Vec<u8>)> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let mut text = Vec::with_capacity(meta.len() as usize + 1);
    file.read_to_end(&mut text)?;
    Ok((Identity::of(&meta), text))
}

/// Whether there is nothing at that path.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
