//! The files of the tree: which there are, which changed, which are gone.

use super::claims::FileId;
use super::disk::{self, Identity, Inode};
use super::names;
use super::reader::Reader;
use crate::model::{Finding, Origin, Severity};
use crate::source::{Change, Counts, Subject};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whoever follows the tree.
pub(super) trait Follower {
    /// What happens in this directory is of interest from now on. Called before the directory is read, so that nothing
    /// that happens meanwhile is missed.
    fn watch(&mut self, directory: &Path) -> Result<(), String>;
    /// What happens there is of interest no more.
    fn unwatch(&mut self, directory: &Path);
    /// Changes so far, so that the first read of a large tree need not be kept whole.
    fn take(&mut self, changes: Vec<Change>);
}

/// Changes that are handed over at once while a large tree is read.
const BATCH: usize = 1024;

/// Why a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// Something happened to it, and is over.
    Event,
    /// It lies below something that happened.
    Walk,
}

#[derive(Debug)]
struct Manifest {
    id: FileId,
    identity: Option<Identity>,
}

/// The tree as it was last seen.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    reader: Reader,
    files: BTreeMap<PathBuf, Manifest>,
    directories: BTreeMap<PathBuf, Inode>,
    /// The path by which each file and directory was found first: none is read twice.
    by_inode: HashMap<Inode, PathBuf>,
    /// Further paths to files that are read by another.
    aliases: BTreeSet<PathBuf>,
    /// Where symbolic links lead, so that a change there is a change here.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Files that were not found when they were last looked for.
    missing: BTreeSet<PathBuf>,
    /// Files found to have been written a moment ago, to be read when they are quiet or closed.
    fresh: Vec<PathBuf>,
    /// What is wrong with directories.
    troubles: BTreeMap<PathBuf, Finding>,
    present: bool,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            reader: Reader::default(),
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            by_inode: HashMap::new(),
            aliases: BTreeSet::new(),
            links: BTreeMap::new(),
            missing: BTreeSet::new(),
            fresh: Vec::new(),
            troubles: BTreeMap::new(),
            present: false,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the directory itself is there.
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn counts(&self) -> &Counts {
        self.reader.counts()
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.reader.take_changes()
    }

    /// Files that are to be looked at again by themselves when they have been quiet for [`disk::UNSETTLED`].
    pub(super) fn take_fresh(&mut self) -> Vec<PathBuf> {
        mem::take(&mut self.fresh)
    }

    /// How many files wait to be given up.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Whether this file waits to be given up.
    pub(super) fn is_missing(&self, path: &Path) -> bool {
        self.missing.contains(path)
    }

    /// Something may have happened at `path`: a file, a directory with all below it, or something that is gone.
    pub(super) fn check(&mut self, path: &Path, follower: &mut impl Follower) {
        if let Some(link) = self.link_to(path) {
            self.check_visible(&link, Seen::Event, follower);
        }
        if names::is_visible(&self.root, path) {
            self.check_visible(path, Seen::Event, follower);
        } else if let Some(parent) = path.parent().filter(|_| names::is_swap(path)) {
            let below: Vec<PathBuf> = self.links.values().filter(|link| link.starts_with(parent)).cloned().collect();
            for link in below {
                self.check_visible(&link, Seen::Event, follower);
            }
        }
    }

    fn link_to(&self, path: &Path) -> Option<PathBuf> {
        if self.links.is_empty() {
            return None;
        }
        let real = fs::canonicalize(path).ok();
        self.links.get(path).or_else(|| self.links.get(&real?)).cloned()
    }

    fn check_visible(&mut self, path: &Path, seen: Seen, follower: &mut impl Follower) {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.check_directory(path, &meta, follower),
            Ok(meta) if meta.is_file() && names::format(path).is_some() => {
                self.forget_directories(path, follower);
                self.no_trouble(path);
                self.check_file(path, &meta, seen, follower);
            }
            Ok(_) => self.gone(path, follower),
            Err(error) if disk::is_absence(&error) => self.gone(path, follower),
            Err(error) => self.trouble(path, &format!("it cannot be examined: {error}")),
        }
        if self.reader.pending() >= BATCH {
            follower.take(self.reader.take_changes());
        }
    }

    fn check_directory(&mut self, path: &Path, meta: &Metadata, follower: &mut impl Follower) {
        let inode = disk::inode(meta);
        if let Some(known) = self.directories.get(path)
            && *known != inode
        {
            self.forget_directories(path, follower);
        }
        if let Some(first) = self.by_inode.get(&inode)
            && first != path
        {
            if fs::metadata(first).is_ok_and(|meta| disk::inode(&meta) == inode) {
                // A second way to a directory that is read already, or a link that leads up: a circle.
                return;
            }
            let first = first.clone();
            self.forget_directories(&first, follower);
        }
        if path == self.root {
            self.present = true;
        }
        // First the watch, then the reading.
        let watched = follower.watch(path);
        self.directories.insert(path.to_owned(), inode);
        self.by_inode.insert(inode, path.to_owned());
        let names = match disk::list(path) {
            Ok(names) => names,
            Err(error) => return self.trouble(path, &format!("it cannot be listed: {error}")),
        };
        match watched {
            Ok(()) => self.no_trouble(path),
            Err(message) => self.trouble(path, &format!("changes in it are seen late: {message}")),
        }
        for child in self.known_children(path) {
            if names.binary_search(&child).is_err() {
                self.gone(&child, follower);
            }
        }
        for name in names {
            self.check_visible(&name, Seen::Walk, follower);
        }
    }

    /// Files and directories that were last seen directly in `path`.
    fn known_children(&self, path: &Path) -> Vec<PathBuf> {
        let files = self.files.range(path.to_owned()..).map(|(path, _)| path);
        let directories = self.directories.range(path.to_owned()..).map(|(path, _)| path);
        let below = |paths: &mut dyn Iterator<Item = &PathBuf>| -> Vec<PathBuf> {
            let below = paths.take_while(|below| below.starts_with(path));
            below.filter(|below| below.parent() == Some(path)).cloned().collect()
        };
        let mut children = below(&mut { files });
        children.extend(below(&mut { directories }));
        children
    }

    fn check_file(&mut self, path: &Path, meta: &Metadata, seen: Seen, follower: &mut impl Follower) {
        let identity = Identity::of(meta);
        let known = self.files.get(path).and_then(|manifest| manifest.identity);
        // Two writes within one tick of the file system's clock look alike: what has an event is read in any case.
        if known == Some(identity) && seen == Seen::Walk {
            return;
        }
        self.missing.remove(path);
        if let Some(first) = self.by_inode.get(&identity.inode).filter(|first| *first != path).cloned() {
            let still = fs::metadata(&first).ok().filter(|meta| Identity::of(meta).inode == identity.inode);
            if let Some(meta) = still {
                // Another way to a file that is read already: what was read by this path before is given up.
                self.aliases.insert(path.to_owned());
                if self.files.contains_key(path) {
                    self.missing.insert(path.to_owned());
                }
                return self.check_file(&first, &meta, seen, follower);
            }
            if !self.files.contains_key(path) {
                self.renamed(&first, path);
            }
        }
        self.aliases.remove(path);
        self.by_inode.insert(identity.inode, path.to_owned());
        if seen == Seen::Walk && self.files.contains_key(path) && disk::is_fresh(meta) {
            // Somebody may be in the middle of writing it: what it said before is better than half of what it will say.
            self.fresh.push(path.to_owned());
            return;
        }
        self.read(path, false, follower);
    }

    fn renamed(&mut self, from: &Path, to: &Path) {
        let Some(manifest) = self.files.remove(from) else { return };
        self.missing.remove(from);
        if let Some(format) = names::format(to) {
            self.reader.rename(manifest.id, self.display(to), format);
        }
        self.files.insert(to.to_owned(), manifest);
    }

    /// If this is a symbolic link, notes where it leads and follows what happens there; whether it is one.
    fn follow_link(&mut self, path: &Path, follower: &mut impl Follower) -> bool {
        self.links.retain(|_, link| link != path);
        if !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
            return false;
        }
        let Ok(real) = fs::canonicalize(path) else { return true };
        if let Some(parent) = real.parent() {
            let known = fs::metadata(parent).ok().and_then(|meta| self.by_inode.get(&disk::inode(&meta)));
            let watched = known.is_some_and(|known| self.directories.contains_key(known));
            if !watched && let Err(message) = follower.watch(parent) {
                self.trouble(path, &format!("changes where it leads are seen late: {message}"));
            }
        }
        self.links.insert(real, path.to_owned());
        true
    }

    /// Reads a file. One that is suddenly empty may be about to be written: it is missing at first.
    fn read(&mut self, path: &Path, believe_empty: bool, follower: &mut impl Follower) {
        let Some(format) = names::format(path) else { return };
        let mut content = disk::content(path);
        let known = self.files.get(path).and_then(|manifest| manifest.identity);
        if let Ok((identity, _)) = &content
            && known.is_none_or(|known| known.inode != identity.inode)
            && self.follow_link(path, follower)
        {
            // Where it leads is watched only now.
            content = disk::content(path);
        }
        if matches!(&content, Err(error) if disk::is_absence(error)) {
            if self.files.contains_key(path) {
                self.missing.insert(path.to_owned());
            }
            return;
        }
        let name = self.display(path);
        let reader = &mut self.reader;
        let manifest = self
            .files
            .entry(path.to_owned())
            .or_insert_with(|| Manifest { id: reader.add(name, format), identity: None });
        match content {
            Ok((identity, text)) => {
                let before = manifest.identity.replace(identity);
                let was_read = before.is_some();
                // It may be another file by now than when it was examined.
                if let Some(before) = before.filter(|before| before.inode != identity.inode)
                    && self.by_inode.get(&before.inode).is_some_and(|first| first == path)
                {
                    self.by_inode.remove(&before.inode);
                }
                self.by_inode.insert(identity.inode, path.to_owned());
                if text.trim_ascii().is_empty() && was_read && !believe_empty {
                    self.missing.insert(path.to_owned());
                } else {
                    match std::str::from_utf8(&text) {
                        Ok(text) => reader.read(manifest.id, text),
                        Err(error) => reader.unreadable(manifest.id, &error.to_string()),
                    }
                }
            }
            Err(error) => {
                // To be tried again whenever anything happens to it.
                manifest.identity = None;
                reader.unreadable(manifest.id, &error.to_string());
            }
        }
    }

    /// There is nothing at `path` any more: what was below it is missing, for now.
    fn gone(&mut self, path: &Path, follower: &mut impl Follower) {
        self.forget_directories(path, follower);
        if path == self.root {
            self.present = false;
            self.trouble(path, "the manifest directory is gone");
            return;
        }
        let below = self.files.range(path.to_owned()..).map(|(path, _)| path);
        let below: Vec<PathBuf> = below.take_while(|below| below.starts_with(path)).cloned().collect();
        self.missing.extend(below);
        self.aliases.retain(|alias| !alias.starts_with(path));
        self.no_trouble(path);
    }

    fn forget_directories(&mut self, path: &Path, follower: &mut impl Follower) {
        let below = self.directories.range(path.to_owned()..);
        let below: Vec<_> =
            below.take_while(|(below, _)| below.starts_with(path)).map(|(p, i)| (p.clone(), *i)).collect();
        for (directory, inode) in below {
            follower.unwatch(&directory);
            self.directories.remove(&directory);
            self.no_trouble(&directory);
            if self.by_inode.get(&inode) == Some(&directory) {
                self.by_inode.remove(&inode);
            }
        }
    }

    /// Gives up the files that are still missing; none while the whole directory is.
    pub(super) fn give_up_missing(&mut self, follower: &mut impl Follower) {
        if !self.root.is_dir() {
            return self.check(&self.root.clone(), follower);
        }
        for path in mem::take(&mut self.missing) {
            if !self.aliases.contains(&path) && path.is_file() {
                self.read(&path, true, follower);
                continue;
            }
            let Some(manifest) = self.files.remove(&path) else { continue };
            self.links.retain(|_, link| *link != path);
            if let Some(identity) = manifest.identity
                && self.by_inode.get(&identity.inode) == Some(&path)
            {
                self.by_inode.remove(&identity.inode);
            }
            self.reader.remove(manifest.id);
        }
        for alias in mem::take(&mut self.aliases) {
            self.check_visible(&alias, Seen::Event, follower);
        }
    }

    fn trouble(&mut self, path: &Path, message: &str) {
        let name = self.display(path);
        let finding = Finding {
            severity: Severity::Rejected,
            origin: Some(Origin { file: name.clone(), document: 0 }),
            object: None,
            field: Arc::default(),
            message: message.into(),
            action: "bring it back or make it readable; until then what was last read is in force".into(),
        };
        if self.troubles.get(path) != Some(&finding) {
            self.troubles.insert(path.to_owned(), finding.clone());
            self.reader.push(Change::Findings { subject: Subject::File(place(&name)), findings: vec![finding] });
        }
    }

    fn no_trouble(&mut self, path: &Path) {
        if self.troubles.remove(path).is_some() {
            self.reader
                .push(Change::Findings { subject: Subject::File(place(&self.display(path))), findings: Vec::new() });
        }
    }

    /// What a path is called in findings: as seen from the root.
    fn display(&self, path: &Path) -> Arc<str> {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let name = if below.as_os_str().is_empty() { path } else { below };
        name.to_string_lossy().into()
    }
}

/// Under what name the troubles of a place are filed: another than what is wrong inside a file of that name.
fn place(name: &str) -> Arc<str> {
    format!("{name}/").into()
}
