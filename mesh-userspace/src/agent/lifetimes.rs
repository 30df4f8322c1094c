//! Ending connections that are idle for too long or too old, where their Service's policy wants that.
//!
//! Nothing is looked at where no policy asks for it. A connection cannot become due sooner than the shortest time asked for
//! after it was opened, or after data was last seen on it: so the agent looks when the first may be due, and asks the kernel
//! about those alone that may be. How often it looks is bounded: a tenth of the shortest time lies between two looks (never
//! more than [`LONGEST_PAUSE`]), and nineteen times what the last one took.

use crate::bpf;
use crate::maps::{MapError, wire};
use crate::plan::{Ended, Endings};
use crate::sockets::{self, Idle, Suspect, Wanted};
use mesh_common::address::Protocol;
use mesh_common::tables::{CONFIRMED, Connection, ServiceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The least time between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The most time by which a look is put off, and after which one that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// By how much the clock that stamps connections may be behind.
const TICK: Duration = Duration::from_millis(10);

/// Times asked for, by the entry of `SERVICES` through which connections came.
pub type Rules = BTreeMap<ServiceId, Endings>;

/// When data was last seen on connections of a policy with an idle timeout, by cookie, with when they were opened:
/// nanoseconds of the monotonic clock.
type Active = HashMap<u64, (u64, u64)>;

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// Connections whose sockets were ended, and why.
    pub ended: Vec<(Connection, Ended, u64)>,
    /// What failed.
    pub errors: Vec<sockets::Error>,
    active: Active,
    next: u64,
}

/// When to look at connections, and for what.
#[derive(Debug)]
pub struct Lifetimes {
    connections: Arc<OwnedFd>,
    rules: Arc<Rules>,
    active: Active,
    /// When the next look is due, nanoseconds of the monotonic clock; `None` where nobody asks for one.
    next: Option<u64>,
}

impl Lifetimes {
    /// Nobody asks for anything yet. `connections` is the map of the programs.
    pub fn new(connections: OwnedFd) -> Self {
        Self { connections: Arc::new(connections), rules: Arc::default(), active: Active::new(), next: None }
    }

    /// From now on this is asked for; `now` is the monotonic clock. What is open may be due at once.
    pub fn set(&mut self, rules: Rules, now: u64) {
        self.next = (!rules.is_empty()).then_some(now);
        self.rules = Arc::new(rules);
    }

    /// When the next look is due, nanoseconds of the monotonic clock.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// A look at the connections, to be run where it may block; `None` where it is not due. `now` is the monotonic clock.
    pub fn begin(&mut self, now: u64) -> Option<impl FnOnce() -> Result<Look, MapError> + Send + 'static + use<>> {
        self.next.take_if(|next| *next <= now)?;
        let (connections, rules) = (self.connections.clone(), self.rules.clone());
        let active = std::mem::take(&mut self.active);
        Some(move || {
            let began = Instant::now();
            let (keys, values) = bpf::read_all(connections.as_fd(), wire::COOKIE, wire::CONNECTION)
                .map_err(|source| MapError::Io { action: "read", map: "CONNECTIONS", source })?;
            let entries = keys.chunks_exact(wire::COOKIE).zip(values.chunks_exact(wire::CONNECTION));
            let entries = entries.map(|(key, value)| (wire::read_cookie(key), wire::read_connection(value)));
            let mut round = Round::sort(entries, &rules, &active, now);
            let (old, suspects) = (round.old.len(), round.suspects.len());
            round.end();
            let took = began.elapsed();
            tracing::debug!(connections = keys.len() / wire::COOKIE, old, suspects, ?took, "looked at connections");
            Ok(round.finish(&rules, now, took))
        })
    }

    /// The look is over. What was asked for meanwhile is looked at first. `now` is the monotonic clock.
    pub fn end(&mut self, look: Option<Look>, now: u64) -> Option<Look> {
        let next = look.as_ref().map_or(now + LONGEST_PAUSE.as_nanos() as u64, |look| look.next);
        if !self.rules.is_empty() {
            self.next = Some(self.next.map_or(next, |asked| asked.min(next)));
        }
        look.map(|mut look| {
            self.active = std::mem::take(&mut look.active);
            look
        })
    }
}

/// A look under way.
struct Round {
    /// Too old.
    old: Vec<(u64, Connection)>,
    /// Perhaps idle for too long.
    suspects: Vec<(u64, Connection, Duration)>,
    look: Look,
}

impl Round {
    /// Sorts connections by what is due at `now`.
    fn sort(entries: impl Iterator<Item = (u64, Connection)>, rules: &Rules, active: &Active, now: u64) -> Self {
        let mut round =
            Self { old: Vec::new(), suspects: Vec::new(), look: Look { next: u64::MAX, ..Look::default() } };
        for (cookie, connection) in entries {
            let is_open = connection.frontend.protocol() == Protocol::Tcp && connection.flags & CONFIRMED != 0;
            let Some(rule) = rules.get(&connection.service).filter(|_| is_open) else { continue };
            let opened = after(connection.opened_at, TICK);
            if rule.longest.is_some_and(|longest| !round.is_before(after(opened, longest), now)) {
                round.old.push((cookie, connection));
                continue;
            }
            let Some(idle) = rule.idle else { continue };
            let known = active.get(&cookie).filter(|(of, _)| *of == opened);
            let last = known.map_or(opened, |(_, last)| *last);
            if round.is_before(after(last, idle), now) {
                round.look.active.insert(cookie, (opened, last));
            } else {
                round.suspects.push((cookie, connection, idle));
            }
        }
        round
    }

    /// Whether `due` is yet to come; if so, it is looked at then.
    fn is_before(&mut self, due: u64, now: u64) -> bool {
        if now < due {
            self.look.next = self.look.next.min(due);
        }
        now < due
    }

    /// Ends what is due.
    fn end(&mut self) {
        let doomed = |cookie, connection: &Connection| Wanted {
            cookie,
            netns: connection.netns,
            protocol: connection.frontend.protocol(),
        };
        if !self.old.is_empty() {
            let sockets: Vec<Wanted> =
                self.old.iter().map(|(cookie, connection)| doomed(*cookie, connection)).collect();
            let (cookies, errors) = sockets::end(&sockets);
            let cookies: HashSet<u64> = cookies.into_iter().collect();
            self.look.errors.extend(errors);
            let ended = self.old.iter().filter(|(cookie, _)| cookies.contains(cookie));
            if cookies.len() < self.old.len() {
                // They ended by themselves, or it is tried again.
                self.look.next = self.look.next.min(after(super::clock::monotonic(), LONGEST_PAUSE));
            }
            self.look.ended.extend(ended.map(|(cookie, connection)| (*connection, Ended::MaxDuration, *cookie)));
        }
        if !self.suspects.is_empty() {
            let sockets = self.suspects.iter().map(|(cookie, connection, idle)| Suspect {
                socket: doomed(*cookie, connection),
                allowed: u32::try_from(idle.as_millis()).unwrap_or(u32::MAX),
            });
            let (seen, errors) = sockets::end_idle(&sockets.collect::<Vec<_>>());
            self.look.errors.extend(errors);
            let seen: HashMap<u64, Idle> = seen.into_iter().collect();
            let now = super::clock::monotonic();
            for (cookie, connection, idle) in &self.suspects {
                match seen.get(cookie) {
                    Some(Idle::Ended) => self.look.ended.push((*connection, Ended::IdleTimeout, *cookie)),
                    Some(Idle::For(milliseconds)) => {
                        let last = now
                            .saturating_sub(u64::from(*milliseconds) * 1_000_000)
                            .max(after(connection.opened_at, TICK));
                        self.look.active.insert(*cookie, (after(connection.opened_at, TICK), last));
                        self.look.next = self.look.next.min(after(last, *idle));
                    }
                    // It ended by itself, or its namespace was not found.
                    None => {
                        self.look.next = self.look.next.min(after(now, LONGEST_PAUSE));
                    }
                }
            }
        }
    }

    /// When to look again. `now` is when the connections were read: those opened since come in time, too.
    fn finish(mut self, rules: &Rules, now: u64, took: Duration) -> Look {
        let times = rules.values().flat_map(|rule| [rule.idle, rule.longest]).flatten();
        let shortest = times.min().unwrap_or(LONGEST_PAUSE);
        let pause = (shortest / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE).max(took * 19);
        self.look.next = self.look.next.min(after(now, shortest)).max(after(now, took + pause));
        self.look
    }
}

fn after(moment: u64, time: Duration) -> u64 {
    moment.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "lifetimes_tests.rs"]
mod tests;
