//! A directory tree of manifests, as `kubectl apply -R -f DIR` would read it, and what changes in it.
//!
//! ```text
//! watch (what happened) -> tree (which files) -> reader (what changed in them) -> split -> document -> claims
//! ```

mod claims;
mod disk;
mod document;
mod names;
mod reader;
mod split;
mod tree;
mod watch;

use super::{Change, Counts};
use std::path::{Path, PathBuf};
use thiserror::Error;

pub use watch::{Handle, spawn};

/// Why manifests cannot be read at all.
#[derive(Debug, Error)]
pub enum ManifestsError {
    /// The directory itself.
    #[error("manifest directory {path}")]
    Directory {
        /// The directory as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No watcher could be had.
    #[error("watch manifest directory {path}")]
    Watch {
        /// The directory as it was given.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
}

/// Reads a directory once: every change that leads from nothing to what it says, [`Change::Counted`] and
/// [`Change::Synced`] included.
pub fn read_once(dir: &Path) -> Result<(Vec<Change>, Counts), ManifestsError> {
    let problem = |source| ManifestsError::Directory { path: dir.to_owned(), source };
    let dir = std::path::absolute(dir).map_err(problem)?;
    std::fs::read_dir(&dir).map_err(problem)?;
    let mut all = Collected(Vec::new());
    let mut tree = tree::Tree::new(&dir);
    tree.check(&dir, &mut all);
    let mut changes = all.0;
    changes.extend(tree.take_changes());
    let counts = tree.counts().clone();
    changes.extend([Change::Counted(counts.clone()), Change::Synced]);
    Ok((changes, counts))
}

/// Follows nothing: the tree is read once.
struct Collected(Vec<Change>);

impl tree::Follower for Collected {
    fn watch(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) {}

    fn take(&mut self, changes: Vec<Change>) {
        self.0.extend(changes);
    }
}
