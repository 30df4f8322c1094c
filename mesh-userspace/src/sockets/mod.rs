//! Sockets in whatever network namespace they are, by their cookies: looked for, or ended.
//!
//! Those of a backend that is gone are ended so that their clients connect anew (SEMANTICS 23, 31). The kernel ends a socket
//! through `SOCK_DESTROY` (sock_diag(7)), in the network namespace that the socket is in; the client sees ECONNABORTED.
//! Blocking: call it off the owner's task.

mod destroy;
mod diag;
mod gone;
mod netns;

pub use netns::own_cookie as own_netns;

use mesh_common::address::Protocol;
use std::collections::{HashMap, HashSet};
use std::io;

/// A socket that is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wanted {
    /// Its cookie.
    pub cookie: u64,
    /// Its network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A TCP socket to be ended if it has been idle for long enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Suspect {
    /// The socket.
    pub socket: Wanted,
    /// How long it may be, milliseconds.
    pub allowed: u32,
}

/// What was seen of a suspect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// It had been idle for too long, and was ended.
    Ended,
    /// It has been idle for so many milliseconds.
    For(u32),
}

/// Why sockets could not be looked for, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process and no mount leads to the namespace.
    #[error("the network namespace with cookie {0} was not found below /proc or in the mounts")]
    NoNamespace(u64),
    /// The work in the namespace failed.
    #[error("the sockets in the network namespace {path}")]
    Namespace {
        /// Where the namespace was found.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// Ends these sockets. Returns the cookies of those that were ended, and what failed; the rest goes on.
pub fn end(doomed: &[Wanted]) -> (Vec<u64>, Vec<Error>) {
    in_each_namespace(doomed, |socket| socket.netns, destroy::all)
}

/// Ends those of the sockets that have been idle for too long. Returns what was seen of each that was found, by cookie, and
/// what failed; the rest goes on.
pub fn end_idle(suspects: &[Suspect]) -> (Vec<(u64, Idle)>, Vec<Error>) {
    in_each_namespace(suspects, |suspect| suspect.socket.netns, destroy::idle)
}

/// Those of the sockets that are not there any more, and what failed. `netns` must be right; a socket whose namespace is not
/// found is not said to be gone.
pub fn gone(sockets: &[Wanted]) -> (Vec<u64>, Vec<Error>) {
    in_each_namespace(sockets, |socket| socket.netns, gone::gone)
}

/// Does the work in each network namespace with its own sockets.
fn in_each_namespace<S: Copy + Sync, T: Send>(
    sockets: &[S],
    netns: impl Fn(&S) -> u64,
    work: impl Fn(&[S]) -> io::Result<Vec<T>> + Sync,
) -> (Vec<T>, Vec<Error>) {
    let mut by_namespace: HashMap<u64, Vec<S>> = HashMap::new();
    for socket in sockets {
        by_namespace.entry(netns(socket)).or_default().push(*socket);
    }
    let mut namespaces = netns::find(&by_namespace.keys().copied().collect::<HashSet<_>>());
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for (cookie, sockets) in by_namespace {
        let Some(namespace) = namespaces.remove(&cookie) else {
            errors.push(Error::NoNamespace(cookie));
            continue;
        };
        let path = namespace.path.display().to_string();
        match netns::inside(&namespace, || work(&sockets)) {
            Ok(results) => done.extend(results),
            Err(source) => errors.push(Error::Namespace { path, source }),
        }
    }
    (done, errors)
}
