//! A world's directory in /run: its name, who lives in it, and what a crashed one left.

use super::cgroup::Cgroup;
use super::netns::Netns;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
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

    /// The homes whose prefix is this one and that no process lives in, each locked.
    pub fn abandoned(prefix: &str) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(WORLDS).with_context(|| format!("list {WORLDS}"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !entry.file_type().is_ok_and(|t| t.is_dir()) || !name.starts_with(prefix) {
                continue;
            }
            let mut home = Self { name, lock: None };
            home.lock = home.try_lock()?;
            if home.lock.is_some() {
                found.push(home);
            }
        }
        Ok(found)
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

/// Held while homes are made, swept or closed, so that nobody sweeps one that is not locked yet.
struct Door(#[expect(dead_code, reason = "held for its lock")] Flock<File>);

impl Door {
    fn open() -> Result<Self> {
        fs::create_dir_all(WORLDS).with_context(|| format!("make {WORLDS} (are you root?)"))?;
        let path = Path::new(WORLDS).join(".lock");
        let file = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("lock the worlds")?;
        Ok(Self(lock))
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
