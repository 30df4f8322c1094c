//! Ending the sockets that are connected to backends which are gone, where their Service wants that.
//!
//! A connect() that was under way when the backend went may still land on it: so backends stay on the list until none
//! of their connections is left.

use crate::bpf;
use crate::drain::{self, Doomed};
use crate::maps::{MapError, wire};
use mesh_common::tables::{BackendId, Connection};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What a round did.
#[derive(Debug, Default)]
pub struct Round {
    /// Connections whose sockets were ended.
    pub ended: Vec<(u64, Connection)>,
    /// What failed.
    pub errors: Vec<drain::Error>,
    /// Whether connections were passed over that may have been opened since the round began.
    pub passed_over: bool,
}

/// Backends whose sockets are to be ended.
#[derive(Debug)]
pub struct Drains {
    connections: Arc<OwnedFd>,
    backends: HashSet<BackendId>,
}

impl Drains {
    /// None yet. `connections` is the map of the programs.
    pub fn new(connections: OwnedFd) -> Self {
        Self { connections: Arc::new(connections), backends: HashSet::new() }
    }

    /// The sockets of this backend are to be ended.
    pub fn add(&mut self, backend: BackendId) {
        self.backends.insert(backend);
    }

    /// Forgets the backends that have no connection left, or serve again.
    pub fn retain(&mut self, is_left: impl Fn(BackendId) -> bool) {
        self.backends.retain(|id| is_left(*id));
    }

    /// A round of ending sockets, to be run where it may block; `None` when there is nothing to end. `now` is the coarse
    /// clock: by the time that the connections are read a backend may serve again, and what was opened to it since then
    /// must not be ended.
    pub fn round(&self, now: u64) -> Option<impl FnOnce() -> Result<Round, MapError> + Send + 'static + use<>> {
        if self.backends.is_empty() {
            return None;
        }
        let (connections, backends) = (self.connections.clone(), self.backends.clone());
        Some(move || {
            let (keys, values) = bpf::read_all(connections.as_fd(), wire::COOKIE, wire::CONNECTION)
                .map_err(|source| MapError::Io { action: "read", map: "CONNECTIONS", source })?;
            let entries = keys.chunks_exact(wire::COOKIE).zip(values.chunks_exact(wire::CONNECTION));
            let mut doomed: Vec<(u64, Connection)> = entries
                .map(|(key, value)| (wire::read_cookie(key), wire::read_connection(value)))
                .filter(|(_, connection)| backends.contains(&connection.backend))
                .collect();
            let all = doomed.len();
            doomed.retain(|(_, connection)| connection.opened_at < now);
            let passed_over = doomed.len() < all;
            let sockets: Vec<Doomed> = doomed
                .iter()
                .map(|(cookie, connection)| Doomed {
                    cookie: *cookie,
                    netns: connection.netns,
                    protocol: connection.frontend.protocol(),
                })
                .collect();
            let (cookies, errors) = drain::end(&sockets);
            let cookies: HashSet<u64> = cookies.into_iter().collect();
            let ended = doomed.into_iter().filter(|(cookie, _)| cookies.contains(cookie)).collect();
            Ok(Round { ended, errors, passed_over })
        })
    }
}
