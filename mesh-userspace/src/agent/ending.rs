//! What the owner does to end connections: of removed endpoints, idle for too long, too old. The work itself blocks, and is done
//! elsewhere.

use super::clock;
use super::drains::Round;
use super::engine::Engine;
use super::lifetimes::Look;
use crate::api::types;
use crate::maps::{MapError, Maps};
use crate::plan::Ended;
use crate::sockets;
use jiff::Timestamp;
use mesh_common::address::Protocol;
use mesh_common::tables::{BackendTag, Connection};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Events of connections that were ended, in one round: many may end at once.
const TOLD: usize = 32;

/// Connections whose sockets are gone, by cookie.
pub type Lost = Vec<(u64, Connection)>;

impl Engine {
    /// The round of ending sockets of removed endpoints that is due, which blocks.
    pub fn begin_drain(&mut self) -> Option<impl FnOnce() -> Result<Round, MapError> + Send + 'static + use<>> {
        let ending = self.reconciler.ending(clock::monotonic());
        self.next_drain = ending.next;
        if ending.due.is_empty() {
            self.ending_errors[0].clear();
            return None;
        }
        Some(self.drains.round(ending.due, clock::coarse()))
    }

    /// When the next of these rounds is due, unless something changes.
    pub fn next_drain(&self) -> Option<Instant> {
        self.next_drain.map(moment)
    }

    /// Sockets were ended. The kernel tells TCP's end to the programs; a UDP socket stays open without its peer, so its
    /// slot is given back here. Returns whether another round is due at once.
    pub fn end_drain(&mut self, round: Result<Round, MapError>) -> bool {
        let Round { ended, errors, passed_over } = match round {
            Ok(round) => round,
            Err(error) => {
                tracing::warn!(%error, "sockets of backends that are gone could not be listed; trying again");
                return false;
            }
        };
        self.ending_errors[0] = told(&errors);
        if !ended.is_empty() {
            tracing::info!(sockets = ended.len(), "ended sockets that were connected to backends which are gone");
        }
        for (number, (cookie, connection)) in ended.into_iter().enumerate() {
            if connection.frontend.protocol() == Protocol::Udp
                && let Err(error) = self.reconciler.give_back(cookie, &connection)
            {
                tracing::warn!(%error, "a slot could not be given back; the next recount tells");
            }
            self.note_ended(number, cookie, &connection, Ended::EndpointRemoved);
        }
        passed_over
    }

    /// The search for sockets of connections that were open for a while, which blocks.
    pub fn begin_search(&mut self) -> Option<impl FnOnce() -> Lost + Send + 'static + use<>> {
        let connections = std::mem::take(&mut self.to_look_for);
        (!connections.is_empty()).then_some(move || {
            let socket = |(cookie, connection): &(u64, Connection)| sockets::Wanted {
                cookie: *cookie,
                netns: connection.netns,
                protocol: connection.frontend.protocol(),
            };
            let (gone, errors) = sockets::gone(&connections.iter().map(socket).collect::<Vec<_>>());
            for error in errors {
                tracing::debug!(%error, "sockets could not be looked for");
            }
            connections.into_iter().filter(|(cookie, _)| gone.contains(cookie)).collect()
        })
    }

    /// Sockets have ended without the programs: a defect, here or of the kernel, after which nothing stays taken.
    pub fn end_search(&mut self, lost: Lost) {
        for (cookie, connection) in lost {
            match self.reconciler.give_back(cookie, &connection) {
                Ok(true) => tracing::warn!(cookie, ?connection, "a socket ended unseen; its slots are given back"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a slot could not be given back; it is tried again"),
            }
        }
    }

    /// The look at how old and how idle connections are that is due, which blocks.
    pub fn begin_look(&mut self) -> Option<impl FnOnce() -> Result<Look, MapError> + Send + 'static + use<>> {
        self.lifetimes.begin(clock::monotonic())
    }

    /// When the next of these looks is due, unless something changes; `None` where no policy asks for it.
    pub fn next_look(&self) -> Option<Instant> {
        self.lifetimes.next().map(moment)
    }

    /// Connections were looked at, and some were ended.
    pub fn end_look(&mut self, look: Result<Look, MapError>) {
        let look = look.inspect_err(|error| {
            tracing::warn!(%error, "connections could not be looked at, whether they are idle or old; trying again");
        });
        let Some(look) = self.lifetimes.end(look.ok(), clock::monotonic()) else { return };
        self.ending_errors[1] = told(&look.errors);
        if !look.ended.is_empty() {
            tracing::info!(sockets = look.ended.len(), "ended connections that were idle for too long, or too old");
        }
        for (number, (connection, why, cookie)) in look.ended.into_iter().enumerate() {
            self.note_ended(number, cookie, &connection, why);
        }
    }

    /// Counts a connection that was ended, and tells the first ones of a round as events.
    fn note_ended(&mut self, number: usize, cookie: u64, connection: &Connection, why: Ended) {
        self.reconciler.note_ended(connection.account, why);
        if number >= TOLD {
            return;
        }
        let entry = self.reconciler.maps().arrays().backend(connection.backend);
        let backend = entry.and_then(|entry| {
            let tag = BackendTag::unpack(entry.tag.load())?;
            Some(SocketAddr::new(entry.address().into(), tag.port.host()))
        });
        let service = self.reconciler.name_of(connection.service);
        let service = service
            .map(|(key, _)| types::ServiceName { namespace: key.namespace.to_string(), name: key.name.to_string() });
        self.remember(types::Event {
            at: Timestamp::now(),
            reason: why.name().to_owned(),
            refused: false,
            service,
            frontend: SocketAddr::new(connection.frontend.address.into(), connection.frontend.port.host()),
            protocol: connection.frontend.protocol().to_string(),
            backend,
            pid: 0,
            command: String::new(),
            netns: connection.netns,
            cgroup: 0,
            cookie,
        });
    }
}

/// A moment of the programs' clock on the owner's.
fn moment(at: u64) -> Instant {
    Instant::now() + Duration::from_nanos(at.saturating_sub(clock::monotonic()))
}

/// Tells the log what failed; as it is said in status.
fn told(errors: &[sockets::Error]) -> Vec<String> {
    for error in errors {
        tracing::warn!(%error, "connections could not be ended; trying again");
    }
    errors.iter().map(ToString::to_string).collect()
}
