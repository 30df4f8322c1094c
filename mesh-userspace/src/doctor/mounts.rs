//! The file systems that the data path lives on.

use super::Check;
use crate::datapath::Cgroup;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::path::Path;

/// Whether the programs can be attached to `path`.
pub fn cgroup(path: &Path) -> Check {
    match Cgroup::open(path) {
        Ok(_) => Check::ok("cgroup2", format!("{} is a cgroup2 directory", path.display())),
        Err(error) => Check::failed(
            "cgroup2",
            format!("{:#}", anyhow::Error::from(error)),
            "mount it (mount -t cgroup2 none /sys/fs/cgroup), or name a directory of one with --cgroup",
        ),
    }
}

/// Whether pins can be in `path`, which the agent makes if need be.
pub fn bpffs(path: &Path) -> Check {
    const NAME: &str = "bpffs";
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    match statfs(there) {
        Ok(fs) if fs.filesystem_type() == BPF_FS_MAGIC => {
            Check::ok(NAME, format!("{} is on a BPF file system", path.display()))
        }
        Ok(_) if path.starts_with("/sys/fs/bpf") => Check::warning(
            NAME,
            "no BPF file system is mounted on /sys/fs/bpf",
            "nothing: the agent mounts it; by hand: mount -t bpf bpf /sys/fs/bpf",
        ),
        Ok(_) => Check::failed(
            NAME,
            format!("{} is not on a BPF file system", path.display()),
            "name a directory below /sys/fs/bpf with --pins, or mount one there: mount -t bpf bpf DIR",
        ),
        Err(error) => Check::failed(NAME, format!("{}: {error}", there.display()), "run as root"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn an_ordinary_directory_is_neither() {
        let folder = tempfile::tempdir().unwrap();
        let check = cgroup(folder.path());
        assert!(
            check.verdict == Verdict::Failed && check.message.contains("not a directory of a cgroup2"),
            "{check:?}"
        );
        assert_eq!(bpffs(&folder.path().join("not/yet/made")).verdict, Verdict::Failed);
    }
}
