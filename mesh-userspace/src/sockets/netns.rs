//! Finding and entering network namespaces by their cookie.

#![expect(unsafe_code, reason = "getsockopt(SO_NETNS_COOKIE) has no safe wrapper")]

use nix::sched::{CloneFlags, setns};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

/// A network namespace that was found.
pub struct Namespace {
    file: File,
    /// Where it was found.
    pub path: PathBuf,
}

/// Finds the namespaces with these cookies: through every process, and through the mounts that keep namespaces alive
/// (`ip netns`, container runtimes).
pub fn find(wanted: &HashSet<u64>) -> HashMap<u64, Namespace> {
    let mut found = HashMap::new();
    let mut seen = HashSet::new();
    for path in candidates() {
        if found.len() == wanted.len() {
            break;
        }
        // Processes and mounts come and go while we look.
        let Ok(file) = File::open(&path) else { continue };
        let Ok(inode) = file.metadata().map(|metadata| metadata.ino()) else { continue };
        if !seen.insert(inode) {
            continue;
        }
        let namespace = Namespace { file, path };
        if let Ok(cookie) = inside(&namespace, own_cookie)
            && wanted.contains(&cookie)
        {
            found.insert(cookie, namespace);
        }
    }
    found
}

/// Runs `work` in a thread of its own in the namespace; the calling thread stays where it is.
pub fn inside<T: Send>(namespace: &Namespace, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&namespace.file, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let own = PathBuf::from("/proc/thread-self/ns/net");
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")))
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<_> = mounts
        .lines()
        .filter(|line| line.contains(" - nsfs "))
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect();
    std::iter::once(own).chain(mounts).chain(processes)
}

/// The cookie of the calling thread's network namespace.
pub fn own_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind(("::", 0)).or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))?;
    let mut cookie = 0_u64;
    let mut len = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
