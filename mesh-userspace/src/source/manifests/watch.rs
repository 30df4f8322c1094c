//! The thread that follows the directory: what happened, and when it is time to look.

use super::disk::UNSETTLED;
use super::tree::{Follower, Tree};
use super::{ManifestsError, names};
use crate::source::{Change, Counts};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// How long the tree must be quiet before files that vanished are given up: `git checkout` and some editors remove a
/// file and write it anew, and of a directory that is removed the files go first.
const MISSING: Duration = Duration::from_millis(100);
/// How long, at most, a file that vanished goes on in a tree that is never quiet.
const MISSING_AT_MOST: Duration = Duration::from_secs(1);
/// How often the directory is looked for when it is not there, and looked through when it cannot be watched.
const POLL: Duration = Duration::from_millis(500);
/// How often everything is looked through, in case that something was written in a way that gives no event.
const SWEEP: Duration = Duration::from_mins(1);

enum Signal {
    Happened(notify::Result<Event>),
    Stop,
}

/// A directory that is being followed, until this is dropped.
#[derive(Debug)]
pub struct Handle {
    signals: mpsc::Sender<Signal>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The thread may have ended by itself, when nobody received its changes any more.
        let _ = self.signals.send(Signal::Stop);
    }
}

/// Reads a directory and follows it in a thread of its own. Batches of changes go to `sender`; after the first full
/// read comes [`Change::Synced`]. A directory that is not there yet is waited for, and reported.
pub fn spawn(dir: &Path, sender: Sender<Vec<Change>>) -> Result<Handle, ManifestsError> {
    let dir = std::path::absolute(dir).map_err(|source| ManifestsError::Directory { path: dir.to_owned(), source })?;
    let (signals, received) = mpsc::channel();
    let problem = |source| ManifestsError::Watch { path: dir.clone(), source };
    let events = signals.clone();
    let happened = move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, is_of_interest) {
            // Nobody listens any more once the thread has ended.
            let _ = events.send(Signal::Happened(event));
        }
    };
    let notify = INotifyWatcher::new(happened, notify::Config::default()).map_err(problem)?;
    let outlet = Outlet { notify, unwatched: BTreeSet::new(), sender, counts: Counts::default(), closed: false };
    let thread =
        Thread { tree: Tree::new(&dir), outlet, received, unsettled: BTreeMap::new(), missing: None, synced: false };
    let spawned = thread::Builder::new().name("manifests".into()).spawn(move || thread.run());
    spawned.map_err(|source| ManifestsError::Directory { path: dir, source })?;
    Ok(Handle { signals })
}

/// Our own reading opens files, too.
fn is_of_interest(event: &Event) -> bool {
    event.need_rescan()
        || match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            // Both halves come by themselves as well.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => false,
            _ => true,
        }
}

/// The way out: watches to the kernel, changes to the state.
struct Outlet {
    notify: INotifyWatcher,
    /// Directories for which the kernel gave no watch.
    unwatched: BTreeSet<PathBuf>,
    sender: Sender<Vec<Change>>,
    counts: Counts,
    closed: bool,
}

impl Follower for Outlet {
    fn watch(&mut self, directory: &Path) -> Result<(), String> {
        match self.notify.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.unwatched.remove(directory);
                Ok(())
            }
            Err(error) => {
                self.unwatched.insert(directory.to_owned());
                Err(match error.kind {
                    notify::ErrorKind::MaxFilesWatch => {
                        "the limit fs.inotify.max_user_watches is reached: raise it".to_owned()
                    }
                    _ => error.to_string(),
                })
            }
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        self.unwatched.remove(directory);
        // The kernel drops the watch of a directory that is gone by itself.
        let _ = self.notify.unwatch(directory);
    }

    fn take(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() && !self.closed {
            self.closed = self.sender.blocking_send(changes).is_err();
        }
    }
}

struct Thread {
    tree: Tree,
    outlet: Outlet,
    received: mpsc::Receiver<Signal>,
    /// Files that are written but not closed, and when to read them all the same.
    unsettled: BTreeMap<PathBuf, Instant>,
    missing: Option<Missing>,
    synced: bool,
}

/// Since when files are missing, and when to give them up.
struct Missing {
    files: usize,
    since: Instant,
    until: Instant,
}

impl Thread {
    fn run(mut self) {
        let root = self.tree.root().to_owned();
        if let Some(parent) = root.parent() {
            // Without it, a directory that comes back is seen at the next poll.
            let _ = self.outlet.watch(parent);
            self.outlet.unwatched.remove(parent);
        }
        self.tree.check(&root, &mut self.outlet);
        let mut looked = Instant::now();
        while !self.outlet.closed {
            self.hand_over();
            let every = if self.tree.is_present() && self.outlet.unwatched.is_empty() { SWEEP } else { POLL };
            let deadlines = self.unsettled.values().copied().chain(self.missing.as_ref().map(|missing| missing.until));
            let next = deadlines.min().unwrap_or(looked + every).min(looked + every);
            let first = match self.received.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut paths = Vec::new();
            for signal in first.into_iter().chain(self.received.try_iter().collect::<Vec<_>>()) {
                match signal {
                    Signal::Stop => return,
                    Signal::Happened(Ok(event)) => self.sort(event, &mut paths),
                    Signal::Happened(Err(_)) => paths.push(root.clone()),
                }
            }
            if looked + every <= Instant::now() {
                paths.push(root.clone());
                looked = Instant::now();
            }
            self.look(paths);
        }
    }

    /// What is to be looked at now, and what later.
    fn sort(&mut self, event: Event, now: &mut Vec<PathBuf>) {
        if event.need_rescan() {
            // The kernel's queue overflowed: anything may have happened.
            now.push(self.tree.root().to_owned());
        }
        for path in event.paths {
            let unfinished = match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => true,
                EventKind::Create(CreateKind::File) => is_being_written(&path),
                _ => false,
            };
            if !unfinished {
                self.unsettled.remove(&path);
                now.push(path);
            } else if names::format(&path).is_some() {
                self.unsettled.insert(path, Instant::now() + UNSETTLED);
            }
        }
    }

    fn look(&mut self, mut paths: Vec<PathBuf>) {
        let now = Instant::now();
        let settled: Vec<_> =
            self.unsettled.iter().filter(|(_, due)| **due <= now).map(|(path, _)| path.clone()).collect();
        for path in settled {
            self.unsettled.remove(&path);
            paths.push(path);
        }
        // What is gone first: a directory that was moved is then found anew where it is now.
        paths.dedup();
        let (there, gone): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| fs::metadata(path).is_ok());
        for path in gone.iter().chain(&there) {
            self.tree.check(path, &mut self.outlet);
        }

        for path in self.tree.take_fresh() {
            self.unsettled.entry(path).or_insert(now + UNSETTLED);
        }
        let files = self.tree.missing();
        let touched = gone.iter().chain(&there).chain(self.unsettled.keys()).any(|path| self.tree.is_missing(path));
        self.missing = match self.missing.take() {
            _ if files == 0 || !self.tree.is_present() => None,
            Some(missing) if missing.until <= now && !touched => {
                self.tree.give_up_missing(&mut self.outlet);
                None
            }
            Some(missing) if missing.files == files && !touched => Some(missing),
            before => {
                let since = before.map_or(now, |missing| missing.since);
                Some(Missing { files, since, until: (now + MISSING).min(since + MISSING_AT_MOST) })
            }
        };
    }

    fn hand_over(&mut self) {
        let mut changes = self.tree.take_changes();
        if *self.tree.counts() != self.outlet.counts {
            self.outlet.counts = self.tree.counts().clone();
            changes.push(Change::Counted(self.outlet.counts.clone()));
        }
        if !self.synced && self.tree.is_present() {
            self.synced = true;
            changes.push(Change::Synced);
        }
        self.outlet.take(mem::take(&mut changes));
    }
}

/// Whether a file that was just made is one that its maker will write and close: not a link.
fn is_being_written(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
