//! A world's directory in /run: its name, who lives in it, and what a crashed one left.

use super::cgroup::Cgroup;
use super::netns::Netns;
use super::pod::command_inside;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// Every world's directory is in here. Files, not memory: a later run finds what an earlier one left.
const WORLDS: &str = "/run/mesh-worlds";
const BPFFS: &str = "/sys/fs/bpf";

/// The places that one world owns. As long as it lives it holds the lock on its directory; a directory whose lock is
/// free is the leftover of a crash (or kept on purpose), whatever process has the number in its name by now.
#[derive(Debug)]
pub struct Home {
    name: String,
    lock: Option<Flock<File>>,
}

impl Home {
    /// A directory for a new world, `<prefix>-<pid>-<n>`; sweeps what crashed worlds left.
    pub fn create(prefix: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let door = Door::open()?;
        mount_bpffs()?;
        sweep_behind(&door)?;
        let name = format!("{prefix}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut home = Self { name, lock: None };
        for folder in ["netns", "logs", "manifests"] {
            fs::create_dir_all(home.path(folder)).with_context(|| format!("make {}", home.path(folder).display()))?;
        }
        home.lock = home.try_lock()?;
        Ok(home)
    }

    /// The homes whose names begin so and that no process lives in, each locked: left by a crash, or kept.
    pub fn abandoned(prefix: &str) -> Result<Vec<Self>> {
        let mut found = Self::all(prefix);
        for home in &mut found {
            home.lock = home.try_lock()?;
        }
        found.retain(|home| home.lock.is_some());
        Ok(found)
    }

    /// The homes whose names begin so, somebody living in them or not.
    pub fn all(prefix: &str) -> Vec<Self> {
        let entries = fs::read_dir(WORLDS).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(prefix)).map(|name| Self { name, lock: None }).collect()
    }

    /// The process that made it, by the number in its name.
    pub fn maker(&self) -> Option<Pid> {
        let mut parts = self.name.rsplit('-').skip(1);
        parts.next()?.parse().ok().map(Pid::from_raw)
    }

    /// A command inside a pod of this world, whoever made it.
    pub fn command(&self, pod: &str, program: impl AsRef<OsStr>) -> Result<Command> {
        let cgroup = Cgroup::at(self.cgroup()?.join("pods").join(pod));
        let own = self.path("netns").join(pod);
        // A pod with `hostNetwork` has no namespace of its own.
        let netns = Netns::open(if own.exists() { own } else { self.path("netns").join("node") })?;
        command_inside(program, &netns, &cgroup).with_context(|| format!("enter the pod {pod} of {}", self.name))
    }

    /// The world's name; its cgroup, its pins and its directory bear it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path in the world's directory.
    pub fn path(&self, below: &str) -> PathBuf {
        Path::new(WORLDS).join(&self.name).join(below)
    }

    /// The world's cgroup.
    pub fn cgroup(&self) -> Result<PathBuf> {
        Ok(Cgroup::mount_point()?.join(&self.name))
    }

    /// Where the world's agent pins.
    pub fn pins(&self) -> PathBuf {
        Path::new(BPFFS).join(&self.name)
    }

    /// Mounts a tmpfs with these options below the world's directory, until the world goes.
    pub(super) fn mount(&self, name: &str, options: &str) -> Result<PathBuf> {
        let path = self.path("mounts").join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a tmpfs on {}", path.display()))?;
        Ok(path)
    }

    /// Marks the world as kept on purpose: a sweep passes it over.
    pub fn keep(&self) -> Result<()> {
        fs::write(self.path("keep"), "").context("mark the world as kept")
    }

    /// Whether [`Home::keep`] was called.
    pub fn is_kept(&self) -> bool {
        self.path("keep").exists()
    }

    fn try_lock(&self) -> Result<Option<Flock<File>>> {
        let path = self.path("lock");
        let file = match File::options().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Removes every trace of the world: processes, cgroups, pins (and with them the programs), namespaces, files.
    /// The directory goes last, so that an interrupted removal is found and ended by the next sweep.
    pub fn demolish(&self) -> Result<()> {
        self.clear()?;
        self.close(&Door::open()?)
    }

    fn clear(&self) -> Result<()> {
        Cgroup::at(self.cgroup()?).remove()?;
        remove_tree(&self.pins())?;
        for entry in fs::read_dir(self.path("netns")).into_iter().flatten().flatten() {
            Netns::unbind(&entry.path());
        }
        for entry in fs::read_dir(self.path("mounts")).into_iter().flatten().flatten() {
            // A folder that is no mount is left of a crash between the two steps of making it.
            umount2(&entry.path(), MntFlags::MNT_DETACH).ok();
        }
        Ok(())
    }

    fn close(&self, _: &Door) -> Result<()> {
        remove_tree(&self.path(""))
    }
}

/// Removes what earlier runs left behind when they crashed. Every new world does it, too.
pub fn sweep() -> Result<()> {
    sweep_behind(&Door::open()?)
}

fn sweep_behind(door: &Door) -> Result<()> {
    for left in Home::abandoned("")?.into_iter().filter(|home| !home.is_kept()) {
        left.clear()?;
        left.close(door)?;
    }
    Ok(())
}

/// The lock on the directory of all worlds, held while homes are made, swept or closed, so that nobody sweeps one that
/// is not locked yet.
struct Door(#[expect(dead_code, reason = "held for its lock")] Flock<File>);

impl Door {
    fn open() -> Result<Self> {
        loop {
            fs::create_dir_all(WORLDS).with_context(|| format!("make {WORLDS} (are you root?)"))?;
            let directory = match File::open(WORLDS) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.with_context(|| format!("open {WORLDS}"))?,
            };
            let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, error)| error);
            let lock = lock.with_context(|| format!("lock {WORLDS}"))?;
            // Whoever held it before may have removed the directory with its last world.
            let locked = lock.metadata().with_context(|| format!("look at {WORLDS}"))?.ino();
            if fs::metadata(WORLDS).is_ok_and(|now| now.ino() == locked) {
                return Ok(Self(lock));
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Only an empty directory goes, and nobody puts a world in it while it is locked.
        fs::remove_dir(WORLDS).ok();
    }
}

fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    let mounted = mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq([BPFFS, "bpf"]));
    if !mounted {
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount bpffs on {BPFFS}"))?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
