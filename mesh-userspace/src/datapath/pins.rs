//! Where the maps and links live between agents.

use super::Error;
use crate::bpf;
use mesh_common::tables::ABI_VERSION;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The mount point that distributions use.
const BPFFS: &str = "/sys/fs/bpf";

/// A directory of pins: `<root>/v<ABI>/maps/<map>` and `<root>/v<ABI>/links/<hook>`.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// Holds the pins for one agent; given up when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Pins {
    /// Pins below `root`, which must be on a BPF file system once it is used.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of all layouts.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pin of one of this build's maps.
    pub fn map(&self, name: &str) -> PathBuf {
        self.layout().join("maps").join(name)
    }

    /// A descriptor of one of this build's maps, which must be pinned.
    pub fn open_map(&self, name: &str) -> Result<OwnedFd, Error> {
        let path = self.map(name);
        bpf::open_pin(&path).map_err(Error::io("open", path))
    }

    /// The pin of one of this build's links.
    pub fn link(&self, hook: &str) -> PathBuf {
        self.layout().join("links").join(hook)
    }

    /// The directory of this build's layout.
    pub fn layout(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    /// The directories of other builds' layouts.
    pub fn other_layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let own = self.layout();
        Ok(self.layouts()?.into_iter().filter(|path| *path != own).collect())
    }

    /// The directories of all layouts that exist.
    pub fn layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &self.root)(error)),
        };
        let is_layout = |name: &str| name.strip_prefix('v').is_some_and(|v| v.parse::<u32>().is_ok());
        let mut layouts: Vec<_> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(is_layout))
            .map(|entry| entry.path())
            .collect();
        layouts.sort();
        Ok(layouts)
    }

    /// Makes the directories. Mounts the BPF file system at its usual place where nobody has.
    pub fn prepare(&self) -> Result<(), Error> {
        if self.root.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)) {
            mount_bpffs()?;
        }
        for directory in ["maps", "links"] {
            let path = self.layout().join(directory);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        if is_bpffs(&self.root) { Ok(()) } else { Err(self.not_bpffs()) }
    }

    /// Leaves no directory behind where pins cannot be.
    fn not_bpffs(&self) -> Error {
        for path in [self.layout().join("maps"), self.layout().join("links"), self.layout(), self.root.clone()] {
            let _ = fs::remove_dir(path);
        }
        Error::NotBpffs(self.root.clone())
    }

    /// Claims the pins for this process.
    pub fn lock(&self) -> Result<Lock, Error> {
        let directory = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(Error::Locked(self.root.clone())),
            Err((_, errno)) => Err(Error::io("lock", &self.root)(errno.into())),
        }
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_bpffs() -> Result<(), Error> {
    tracing::info!("mounting the BPF file system at {BPFFS}");
    nix::mount::mount(Some("bpf"), BPFFS, Some("bpf"), nix::mount::MsFlags::empty(), None::<&str>)
        .map_err(|errno| Error::io("mount the BPF file system at", BPFFS)(errno.into()))
}
