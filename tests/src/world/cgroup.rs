//! A cgroup of a world, with the processes in it.

use crate::wait::wait_for;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A cgroup2 directory.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Where cgroup2 is mounted: /sys/fs/cgroup on most hosts, /sys/fs/cgroup/unified on hybrid ones.
    pub fn mount_point() -> Result<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
        mounts.lines().find_map(cgroup2_mount).context("cgroup2 is not mounted")
    }

    /// Makes the cgroup, which must not exist.
    pub fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("make the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// A cgroup that may or may not exist; to remove it.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes a cgroup below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::create(self.path.join(name))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file into which a process writes `0` to move itself here.
    pub fn entrance(&self) -> Result<File> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new().write(true).open(&path).with_context(|| format!("open {}", path.display()))
    }

    /// The processes here, those of cgroups below not included.
    pub fn processes(&self) -> Vec<Pid> {
        let listed = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        // 0 is a process of another pid namespace: nothing of ours, and kill(0) would be everybody.
        listed.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).map(Pid::from_raw).collect()
    }

    fn below(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| Self::at(e.path())).collect()
    }

    /// Kills every process here and below, and waits until none is left.
    pub fn kill(&self) -> Result<()> {
        // All at once, so that nobody is left who starts another again. Kernels before 5.14 do not have it.
        fs::write(self.path.join("cgroup.kill"), "1").ok();
        for child in self.below() {
            child.kill()?;
        }
        wait_for(&format!("the processes of {} to end", self.path.display()), || {
            let left = self.processes();
            for &pid in &left {
                // One that ended in between is what we want.
                kill(pid, Signal::SIGKILL).ok();
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still there")) }
        })
    }

    /// Kills what runs here and below, and removes the directories. A cgroup that does not exist is removed already.
    pub fn remove(&self) -> Result<()> {
        self.kill()?;
        for child in self.below() {
            child.remove()?;
        }
        // The kernel may still be putting the last process away: EBUSY for a moment.
        wait_for(&format!("the cgroup {} to go", self.path.display()), || match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// The mount point in a line of mountinfo, if it is a cgroup2 mounted from its root:
/// `41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`.
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (filesystem.starts_with("cgroup2 ") && root == "/").then(|| point.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup2_mount_is_told_from_others() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let optional_fields = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let version_1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        let a_part = "41 31 0:38 /system.slice /mnt rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount(optional_fields), Some("/sys/fs/cgroup".into()));
        assert_eq!(cgroup2_mount(version_1), None);
        assert_eq!(cgroup2_mount(a_part), None);
    }
}
