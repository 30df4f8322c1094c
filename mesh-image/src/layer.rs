//! The files of an image as a tar whose bytes follow from them alone.

use std::collections::BTreeSet;
use std::io;
use tar::{Builder, EntryType, Header};

/// A file in an image; root owns it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The path without the leading `/`.
    pub path: String,
    /// The permissions, as `0o755`.
    pub mode: u32,
    /// The content.
    pub content: Vec<u8>,
}

impl File {
    /// A program.
    pub fn program(path: impl Into<String>, content: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o755, content }
    }

    /// A file that is only read.
    pub fn data(path: impl Into<String>, content: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o644, content }
    }
}

/// The files, sorted, each after its folders.
pub(crate) fn layer(files: &[File]) -> io::Result<Vec<u8>> {
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let folders: BTreeSet<&str> = files.iter().flat_map(|file| folders(&file.path)).collect();
    let mut tar = Builder::new(Vec::new());
    for folder in folders {
        append(&mut tar, &format!("{folder}/"), EntryType::Directory, 0o755, &[])?;
    }
    for file in files {
        append(&mut tar, &file.path, EntryType::Regular, file.mode, &file.content)?;
    }
    tar.into_inner()
}

/// Every folder above a path.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// One entry: no time, no owner but root.
pub(crate) fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, content)
}
