//! Ending the sockets that are connected to backends which are gone, where their Service wants that.
//!
//! A connect() that was under way when the backend went may still land on it: so a backend is looked at until none of its
//! connections is left.

use crate::bpf;
use crate::maps::{MapError, wire};
use crate::sockets::{self, Wanted};
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
    pub errors: Vec<sockets::Error>,
    /// Whether connections were passed over that may have been opened since the round began.
    pub passed_over: bool,
}

/// Ends sockets in rounds.
#[derive(Debug)]
pub struct Drains {
    connections: Arc<OwnedFd>,
}

impl Drains {
    /// `connections` is the map of the programs.
    pub fn new(connections: OwnedFd) -> Self {
        Self { connections: Arc::new(connections) }
    }

    /// A round of ending the sockets of these backends, to be run where it may block. `now` is the coarse clock: by the time
    /// that the connections are read a backend may serve again, and what was opened to it since then must not be ended.
    pub fn round(
        &self,
        backends: HashSet<BackendId>,
        now: u64,
    ) -> impl FnOnce() -> Result<Round, MapError> + Send + 'static + use<> {
        let connections = self.connections.clone();
        move || {
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
            let sockets: Vec<Wanted> = doomed
                .iter()
                .map(|(cookie, connection)| Wanted {
                    cookie: *cookie,
                    netns: connection.netns,
                    protocol: connection.frontend.protocol(),
                })
                .collect();
            let (cookies, errors) = sockets::end(&sockets);
            let cookies: HashSet<u64> = cookies.into_iter().collect();
            let ended = doomed.into_iter().filter(|(cookie, _)| cookies.contains(cookie)).collect();
            Ok(Round { ended, errors, passed_over })
        }
    }
}
