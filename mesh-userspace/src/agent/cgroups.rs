//! Pods' cgroups, found below the agent's own by the names that kubelets give them.
//!
//! A pod's object may be there before its cgroup, so it is looked for, often at first. Neither the pod's processes nor its
//! network namespace have to be entered for that, and pods in the host's network are told apart.

use mesh_common::tables::Settings;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How deep below the agent's cgroup pods are: `kubelet.slice/kubelet-kubepods.slice/<quality of service>/<pod>`, and one
/// more.
const DEPTH: u32 = 5;

/// How long after a change pods are looked for often: a kubelet makes a pod's cgroup within seconds.
const OFTEN: Duration = Duration::from_mins(1);

/// A pod's cgroup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodCgroup {
    /// Its id.
    pub id: u64,
    /// The levels of the hierarchy at which it may be, one bit each.
    pub levels: u64,
}

/// Pods that are looked for, and those that were found, by what their cgroups are named after.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    /// The level of the agent's cgroup in the hierarchy, if that can be seen from here.
    level: Option<u32>,
    wanted: BTreeSet<Arc<str>>,
    found: HashMap<Arc<str>, PodCgroup>,
    changed: Option<Instant>,
}

impl Cgroups {
    /// None is looked for yet.
    pub fn new(root: &Path) -> Self {
        let (wanted, found) = (BTreeSet::new(), HashMap::new());
        Self { root: root.to_path_buf(), level: level(root), wanted, found, changed: None }
    }

    /// These pods are looked for from now on, and no others.
    pub fn want(&mut self, pods: BTreeSet<Arc<str>>) {
        if pods != self.wanted {
            self.found.retain(|pod, _| pods.contains(pod));
            self.wanted = pods;
            self.changed = Some(Instant::now());
        }
    }

    /// A pod's cgroup, if it was found.
    pub fn get(&self, pod: &str) -> Option<PodCgroup> {
        self.found.get(pod).copied()
    }

    /// Whether a pod was not found that should be there any moment.
    pub fn is_looking(&self) -> bool {
        self.is_incomplete() && self.changed.is_some_and(|changed| changed.elapsed() < OFTEN)
    }

    fn is_incomplete(&self) -> bool {
        self.found.len() < self.wanted.len()
    }

    /// Looks for pods that were not found.
    pub fn look(&mut self) {
        if self.is_incomplete() {
            let root = self.root.clone();
            self.look_below(&root, 1);
        }
    }

    fn look_below(&mut self, directory: &Path, depth: u32) {
        // Cgroups come and go while we look.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let pod = pod_of(name.to_str().unwrap_or_default());
            match pod.and_then(|pod| self.wanted.get(pod.as_str())) {
                Some(pod) => {
                    if let Ok(metadata) = entry.metadata() {
                        // A cgroup's id is its directory's inode number (64-bit hosts).
                        let cgroup = PodCgroup { id: metadata.ino(), levels: self.levels(depth) };
                        self.found.insert(pod.clone(), cgroup);
                    }
                }
                None if depth < DEPTH => self.look_below(&entry.path(), depth + 1),
                None => {}
            }
        }
    }

    /// The levels that a cgroup so far below the agent's may have.
    fn levels(&self, below: u32) -> u64 {
        const LAST: u32 = Settings::LEVELS - 1;
        match self.level {
            Some(level) => 1 << (level + below).min(LAST),
            None => (1 << Settings::LEVELS) - (1 << below.min(LAST)),
        }
    }
}

/// What a pod's cgroup is named after: `pod<uid>` with the cgroupfs driver, `kubepods-burstable-pod<uid>.slice`, its dashes
/// written as `_`, with systemd's.
fn pod_of(directory: &str) -> Option<String> {
    let name = directory.strip_suffix(".slice").unwrap_or(directory);
    let (_, uid) = name.rsplit_once("pod")?;
    Some(uid.replace('_', "-"))
}

/// The level of a cgroup in the hierarchy, the root's 0; `None` where the root is out of sight, as in a cgroup namespace. The
/// root's directory is the first of its file system.
fn level(cgroup: &Path) -> Option<u32> {
    const ROOT: u64 = 1;
    let cgroup = cgroup.canonicalize().ok()?;
    let device = cgroup.metadata().ok()?.dev();
    for (level, ancestor) in (0..).zip(cgroup.ancestors()) {
        let metadata = ancestor.metadata().ok()?;
        if metadata.dev() != device {
            return None;
        }
        if metadata.ino() == ROOT {
            return Some(level);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "8d7c2c1e-6b2a-4f0e-9d55-0c6a4a3e2b1f";

    #[test]
    fn both_drivers_names_tell_the_pod() {
        for name in [
            "pod8d7c2c1e-6b2a-4f0e-9d55-0c6a4a3e2b1f",
            "kubepods-besteffort-pod8d7c2c1e_6b2a_4f0e_9d55_0c6a4a3e2b1f.slice",
            "kubepods-pod8d7c2c1e_6b2a_4f0e_9d55_0c6a4a3e2b1f.slice",
        ] {
            assert_eq!(pod_of(name).as_deref(), Some(UID), "{name}");
        }
        assert_eq!(pod_of("system.slice"), None);
        assert_ne!(pod_of("kubepods-burstable.slice").as_deref(), Some(UID));
    }

    #[test]
    fn a_pod_is_found_when_its_cgroup_comes_and_forgotten_when_it_is_not_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut cgroups = Cgroups::new(folder.path());
        assert!(!cgroups.is_looking());
        cgroups.want([UID.into()].into());
        cgroups.look();
        assert!(cgroups.is_looking());
        let pod = folder.path().join("kubepods/burstable").join(format!("pod{UID}"));
        fs::create_dir_all(pod.join("container")).unwrap();
        cgroups.look();
        assert!(!cgroups.is_looking());
        let found = cgroups.get(UID).unwrap();
        assert_eq!(found.id, pod.metadata().unwrap().ino());
        // The root of the hierarchy is not to be seen: from its depth on all levels are possible.
        assert_eq!(found.levels, 0xfff8);
        cgroups.want(BTreeSet::new());
        assert_eq!(cgroups.get(UID), None);
    }
}
