//! What a node sees of the file system: the machine's programs, and folders of its own wherever a node writes.

use super::super::settings::Settings;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::Path;

/// Folders of the machine that a node writes to: what it writes stays its own.
const COPIED: [&str; 3] = ["var", "etc", "opt"];

/// Folders on the disk itself: an overlay cannot lie on an overlay, and containerd makes them.
const OWN: [&str; 3] = ["kubelet", "containerd", "cni"];

/// The kubelet sets these for the whole machine. The node shows it files of its own instead.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Furnishes the present mount namespace. Nothing of it reaches the machine's.
pub fn furnish(settings: &Settings) -> Result<()> {
    let root = Path::new("/");
    spread(root, MsFlags::MS_PRIVATE)?;
    fresh("proc", Path::new("/proc"))?;
    umount2("/sys", MntFlags::MNT_DETACH).context("unmount the machine's /sys")?;
    for (kind, place) in [("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup"), ("bpf", "/sys/fs/bpf")] {
        fresh(kind, Path::new(place))?;
    }
    forget_others()?;
    run(settings)?;
    for name in COPIED {
        overlay(name, &settings.folder)?;
    }
    for name in OWN {
        let (own, place) = (settings.folder.join(name), Path::new("/var/lib").join(name));
        folders(&[&own, &place])?;
        bind(&own, &place)?;
    }
    for (name, value) in SYSCTLS {
        let file = Path::new("/run/sysctl").join(name.replace('/', "."));
        folders(&[Path::new("/run/sysctl")])?;
        fs::write(&file, value).with_context(|| format!("write {}", file.display()))?;
        bind(&file, &Path::new("/proc/sys").join(name))?;
    }
    // Volumes of pods are mounted by the kubelet, and seen by containerd and in pods that ask for that.
    spread(root, MsFlags::MS_SHARED)
}

/// What is mounted below /run are the network namespaces of other clusters and worlds, among others: they would live as long
/// as this node.
fn forget_others() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the node's mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // What was mounted last is in the way of what was mounted before.
    for point in points.filter(|point| point.starts_with("/run/")).collect::<Vec<_>>().into_iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmount {point}"))?;
    }
    Ok(())
}

/// An empty /run but for the cluster's own folder, at the path that it has outside.
fn run(settings: &Settings) -> Result<()> {
    let fresh_run = settings.folder.join("run");
    folders(&[&fresh_run])?;
    fresh("tmpfs", &fresh_run)?;
    let below = settings.home.strip_prefix("/run").context("the cluster's folder is in /run")?;
    let kept = fresh_run.join(below);
    folders(&[&kept, &fresh_run.join("netns"), &fresh_run.join("lock")])?;
    bind(&settings.home, &kept)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&fresh_run), "/run", None::<&str>, flags, None::<&str>).context("mount the node's /run")
}

fn overlay(name: &str, folder: &Path) -> Result<()> {
    let (upper, work) = (folder.join("overlay").join(name), folder.join("overlay").join(format!("{name}.work")));
    folders(&[&upper, &work])?;
    let lower = Path::new("/").join(name);
    // Volatile: nobody reads it after the node, so that its end need not wait for the whole disk to be written.
    let places = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let options = places + ",volatile";
    mount(Some("overlay"), &lower, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mount the node's {}", lower.display()))
}

fn fresh(kind: &str, place: &Path) -> Result<()> {
    mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mount {kind} on {}", place.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mount {} on {}", from.display(), to.display()))
}

fn spread(place: &Path, how: MsFlags) -> Result<()> {
    mount(None::<&str>, place, None::<&str>, how | MsFlags::MS_REC, None::<&str>).context("set how mounts spread")
}

fn folders(paths: &[&Path]) -> Result<()> {
    paths.iter().try_for_each(|path| fs::create_dir_all(path).with_context(|| format!("make {}", path.display())))
}
