//! A network namespace with a name in the file system, so that it outlives every process in it.

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

/// A network namespace, bound to a file of the world's directory. Clones are the same namespace.
#[derive(Clone, Debug)]
pub struct Netns {
    path: PathBuf,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace and binds it to `path`, which must not exist.
    pub fn create(path: PathBuf) -> Result<Self> {
        File::create_new(&path).with_context(|| format!("make {}", path.display()))?;
        let made: nix::Result<()> = in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let own = "/proc/thread-self/ns/net";
            mount(Some(own), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        });
        made.with_context(|| format!("make the network namespace {}", path.display()))?;
        Self::open(path)
    }

    /// Opens a namespace that is there.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { path, file: Arc::new(file) })
    }

    /// The file that it is bound to, as in `nsenter --net=FILE`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open namespace, for setns.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Runs `work` on a thread inside. Its sockets belong to the cgroup of this process, so clients that the mesh
    /// should see are processes of a [`Pod`](super::Pod) instead.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_a_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
            work()
        })
    }

    /// Sets values below /proc/sys/net.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in settings {
                let path = format!("/proc/sys/net/{name}");
                fs::write(&path, value).with_context(|| format!("write {value} to {path}"))?;
            }
            Ok(())
        })
    }

    /// Runs lines of `ip` inside: `link set lo up`.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let namespace = self.file();
        // SAFETY: between fork and exec only setns runs, a plain system call.
        unsafe { command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?)) };
        let mut child = command.spawn().context("run ip (package iproute2)")?;
        child.stdin.take().context("ip has an input")?.write_all(lines.as_bytes()).context("write to ip")?;
        let output = child.wait_with_output().context("wait for ip")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ip in {} failed: {}\nits input:\n{lines}", self.path.display(), said.trim());
        }
        Ok(())
    }

    /// Removes the name. The namespace goes when the last process and descriptor in it are gone.
    pub fn unbind(path: &Path) {
        // A file that is no mount is left of a crash between the two steps of making it.
        umount2(path, MntFlags::MNT_DETACH).ok();
        fs::remove_file(path).ok();
    }
}

/// Runs `work` on a thread of its own, since a namespace is a thread's.
fn in_a_thread<T: Send, E: Send + From<Panicked>>(work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E> {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(Panicked.into()))
}

/// The thread inside a namespace panicked; its message is on stderr.
struct Panicked;

impl From<Panicked> for anyhow::Error {
    fn from(_: Panicked) -> Self {
        anyhow!("a thread inside a network namespace panicked")
    }
}

impl From<Panicked> for nix::Error {
    fn from(_: Panicked) -> Self {
        Self::ECANCELED
    }
}
