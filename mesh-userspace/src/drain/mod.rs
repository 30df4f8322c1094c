//! Ending the sockets that are connected to a backend which is gone, so that their clients connect anew (SEMANTICS 23, 31).
//!
//! The kernel ends a socket through `SOCK_DESTROY` (sock_diag(7)), in the network namespace that the socket is in; the
//! client sees ECONNABORTED. Blocking: call it off the owner's task.

mod destroy;
mod netns;

pub use netns::own_cookie as own_netns;

use mesh_common::address::Protocol;
use std::collections::{HashMap, HashSet};

/// A socket to be ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Doomed {
    /// Its cookie.
    pub cookie: u64,
    /// Its network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Why sockets could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process and no mount leads to the namespace.
    #[error("the network namespace with cookie {0} was not found below /proc or in the mounts")]
    NoNamespace(u64),
    /// The work in the namespace failed.
    #[error("end sockets in the network namespace {path}")]
    Namespace {
        /// Where the namespace was found.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// Ends these sockets. Returns the cookies of those that were ended, and what failed; the rest goes on.
pub fn end(doomed: &[Doomed]) -> (Vec<u64>, Vec<Error>) {
    let mut by_namespace: HashMap<u64, Vec<Doomed>> = HashMap::new();
    for socket in doomed {
        by_namespace.entry(socket.netns).or_default().push(*socket);
    }
    let mut namespaces = netns::find(&by_namespace.keys().copied().collect::<HashSet<_>>());
    let (mut ended, mut errors) = (Vec::new(), Vec::new());
    for (cookie, sockets) in by_namespace {
        let Some(namespace) = namespaces.remove(&cookie) else {
            errors.push(Error::NoNamespace(cookie));
            continue;
        };
        let path = namespace.path.display().to_string();
        match netns::inside(&namespace, || destroy::destroy(&sockets)) {
            Ok(cookies) => ended.extend(cookies),
            Err(source) => errors.push(Error::Namespace { path, source }),
        }
    }
    (ended, errors)
}
