//! Recounting connections: what the programs count must be what is open.

use super::Reconciler;
use crate::maps::{Arrays, MapError, Maps};
use crate::plan::applied::Quarantine;
use mesh_common::address::Protocol;
use mesh_common::admission::give_back;
use mesh_common::atomic::Atomic64;
use mesh_common::clients;
use mesh_common::outlier::{self, Standing};
use mesh_common::tables::{BackendId, BackendTag, CONFIRMED, Connection, OutlierRule, ServiceId, TrafficRule};
use std::collections::{HashMap, HashSet};

/// A TCP connect that has not sent a SYN after this many nanoseconds failed on this host (2 s; between the connect hook
/// and the SYN the kernel does not sleep), if an earlier recount saw it so, too: a machine that stood still for a while
/// wakes up in the midst of connects that look as old.
const UNCONFIRMED_FOR: u64 = 2_000_000_000;

/// How old a connection is when its socket is first looked for, nanoseconds (4 s).
const LOOKED_FOR_AFTER: u64 = 4_000_000_000;

/// Something that counts connections, or backends that are ejected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Counted {
    /// An account.
    Account(ServiceId),
    /// A backend.
    Backend(BackendId),
    /// A client of an account, by its place in `CLIENTS`.
    Client(u32),
    /// The backends of an account that are ejected.
    Ejected(ServiceId),
}

/// A count that is not what a recount says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Drift {
    /// Whose count.
    pub what: Counted,
    /// Entries of `CONNECTIONS` that hold a slot, or backends that are marked as ejected.
    pub counted: u64,
    /// What the table says.
    pub active: u64,
}

/// What a recount found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// Connections open.
    pub connections: usize,
    /// Connects that failed on this host and whose slots were given back now.
    pub given_back: u32,
    /// Counts that were off by the same amount in two recounts in a row: a single one may see a connection between its
    /// entry and its count.
    pub drift: Vec<Drift>,
    /// TCP connections that are to be looked for now: each a few seconds after it was opened, and whenever it is twice as old
    /// as it was then. Should a socket ever end without the programs, its slots come back.
    pub to_look_for: Vec<(u64, Connection)>,
    /// Of the counts that are off, the ones that were set right: nothing had connected to their Service, or none of its
    /// backends had been ejected, since the recount before, so nothing was under way.
    pub repaired: Vec<Drift>,
}

/// A count that a recount did not agree with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Suspect {
    /// By how much.
    off: i64,
    /// What the table said.
    active: u64,
    /// How many connections the programs had decided of its Service by then, or how often they had ejected.
    decided: u64,
}

impl<M: Maps> Reconciler<M> {
    /// Recounts. `now` is the time of the monotonic clock in nanoseconds.
    pub fn audit(&mut self, now: u64) -> Result<Audit, MapError> {
        let mut audit = Audit::default();
        // What was closed before is named by no new connection: who is not named below never will be.
        let quarantine: &Quarantine = &self.applied.quarantine;
        let leaving = self.applied.leaving.iter().filter(|(_, port)| quarantine.has_passed(port.since));
        let mut unnamed: HashSet<ServiceId> = leaving.map(|(id, _)| *id).collect();

        let mut counted: HashMap<Counted, u64> = HashMap::new();
        let unconfirmed_before = std::mem::take(&mut self.unconfirmed);
        for (cookie, connection) in self.maps.connections()? {
            if is_unconfirmed(&connection) {
                let seen_before = unconfirmed_before.get(&cookie) == Some(&connection.opened_at);
                let is_old = now.saturating_sub(connection.opened_at) > UNCONFIRMED_FOR;
                if seen_before && is_old && self.give_back(cookie, &connection)? {
                    audit.given_back += 1;
                    continue;
                }
                self.unconfirmed.insert(cookie, connection.opened_at);
            }
            if !is_unconfirmed(&connection) && is_of_age(&connection, self.audited, now) {
                audit.to_look_for.push((cookie, connection));
            }
            audit.connections += 1;
            unnamed.remove(&connection.service);
            *counted.entry(Counted::Account(connection.account)).or_default() += 1;
            *counted.entry(Counted::Backend(connection.backend)).or_default() += 1;
            if let Some(place) = connection.client_place() {
                *counted.entry(Counted::Client(place)).or_default() += 1;
            }
        }
        self.audited = now;
        self.settle_ejections(now / 1_000_000);
        self.count_ejected(&mut counted);
        self.compare(&counted, &mut audit);
        for id in unnamed {
            self.retire_port(id);
        }
        self.retire();
        Ok(audit)
    }

    /// Removes a connection that is none, once: who removes the entry gives back.
    pub fn give_back(&mut self, cookie: u64, stale: &Connection) -> Result<bool, MapError> {
        let Some(taken) = self.maps.take_connection(cookie)? else { return Ok(false) };
        if taken != *stale && self.maps.restore_connection(cookie, &taken)? {
            // The socket has connected anew, or the SYN went out, since the table was read: it keeps its slots. Should
            // it have closed before the entry was back, a slot stays taken; never is one given back that is in use.
            return Ok(false);
        }
        let arrays = self.maps.arrays();
        if let Some(account) = arrays.service(taken.account) {
            give_back(&account.active);
        }
        if let Some(backend) = arrays.backend(taken.backend) {
            give_back(&backend.active);
        }
        let place = taken.client_place().and_then(|place| arrays.clients.get(place as usize));
        if let Some(client) = place {
            give_back(&client.active);
        }
        Ok(true)
    }

    /// Ejections that are over, and of backends that take no new connections, count no more. `now` is in milliseconds.
    fn settle_ejections(&self, now: u64) {
        let arrays = self.maps.arrays();
        for account in self.applied.accounts().filter(|account| account.outlier != OutlierRule::default()) {
            let Some(outlier) = arrays.outlier(account.id) else { continue };
            if outlier.ejected.load() == 0 {
                continue;
            }
            let in_slots: HashSet<BackendId> = account.ports.iter().flat_map(|port| &port.slots).copied().collect();
            for backend in account.backends.values() {
                let Some(entry) = arrays.backend(backend.id) else { continue };
                if in_slots.contains(&backend.id) {
                    outlier::is_out(&entry.standing, outlier, now);
                } else {
                    outlier::pardon(&entry.standing, outlier);
                }
            }
        }
    }

    /// Counts the backends that are marked as ejected, for each account that ejects.
    fn count_ejected(&self, counted: &mut HashMap<Counted, u64>) {
        let ejecting = self.applied.accounts().filter(|account| account.outlier != OutlierRule::default());
        counted.extend(ejecting.map(|account| (Counted::Ejected(account.id), 0)));
        if !counted.keys().any(|what| matches!(what, Counted::Ejected(_))) {
            return;
        }
        for entry in self.maps.arrays().backends.iter().filter(|entry| Standing::unpack(entry.standing.load()).out) {
            if let Some(marked) = counted.get_mut(&Counted::Ejected(BackendTag::account_of(entry.tag.load()))) {
                *marked += 1;
            }
        }
    }

    fn compare(&mut self, counted: &HashMap<Counted, u64>, audit: &mut Audit) {
        let arrays = self.maps.arrays();
        let active = |what| counter(&arrays, what).map(Atomic64::load);
        // Nearly all count nothing. The tables are read from end to end, as processors read fast (with 100,000 endpoints a
        // millisecond; five when each is looked up by its Service), and only what counts is looked up.
        let accounts =
            (0..).map(ServiceId).map(Counted::Account).zip(arrays.services.iter().map(|entry| &entry.active));
        let backends =
            (0..).map(BackendId).map(Counted::Backend).zip(arrays.backends.iter().map(|entry| &entry.active));
        // Where no Service limits its clients, nothing is counted there, and the table is not looked at.
        let limits_clients = |traffic: &TrafficRule| traffic.client_limit.is_some() || traffic.client_rate.is_some();
        let looked_at = self.applied.accounts().any(|account| limits_clients(&account.traffic))
            || counted.keys().any(|what| matches!(what, Counted::Client(_)));
        let places = arrays.clients.iter().filter(|_| looked_at).map(|entry| &entry.active);
        let clients = (0..).map(Counted::Client).zip(places);
        let ejecting = counted.keys().filter(|what| matches!(what, Counted::Ejected(_)));
        let ejecting = ejecting.filter_map(|what| Some((*what, counter(&arrays, *what)?)));
        let active_ones = accounts.chain(backends).chain(clients).chain(ejecting);
        let active_ones = active_ones.map(|(what, active)| (what, active.load())).filter(|(_, active)| *active != 0);
        let missed = counted.keys().filter(|what| active(**what) == Some(0)).map(|what| (*what, 0));
        let mut suspects = HashMap::new();
        for (what, active) in active_ones.chain(missed) {
            let counted = counted.get(&what).copied().unwrap_or_default();
            let off = active.wrapping_sub(counted).cast_signed();
            if off == 0 || !self.is_in_use(what) {
                continue;
            }
            let suspect = Suspect { off, active, decided: self.decided(what) };
            let before = self.suspects.get(&what);
            if before.is_some_and(|before| before.off == off) {
                audit.drift.push(Drift { what, counted, active });
            }
            if before == Some(&suspect) {
                self.set_right(what, off);
                audit.repaired.push(Drift { what, counted, active });
            } else {
                suspects.insert(what, suspect);
            }
        }
        self.suspects = suspects;
        audit.drift.sort_unstable();
        audit.repaired.sort_unstable();
    }

    /// How many connections the programs have decided of the Service that a count belongs to, refusals included: each
    /// that takes a slot counts there before its program ends, and no program runs from one recount to the next. Of ejections,
    /// how many there were: without one in between the count only falls, by each that ends.
    fn decided(&self, what: Counted) -> u64 {
        let arrays = self.maps.arrays();
        let account = match what {
            Counted::Account(id) => Some(id),
            Counted::Backend(id) => {
                arrays.backend(id).and_then(|entry| BackendTag::unpack(entry.tag.load())).map(|tag| tag.account)
            }
            Counted::Client(place) => {
                arrays.clients.get(place as usize).map(|entry| clients::account_of(entry.key.load()))
            }
            Counted::Ejected(id) => return arrays.outlier(id).map_or(0, |entry| entry.ejections.load()),
        };
        let Some(account) = account.and_then(|id| self.applied.account(id)) else { return 0 };
        let ids = account.ports.iter().map(|port| port.id).chain([account.id]).collect::<HashSet<_>>();
        let of = |id| {
            let opened = arrays.service(id).map_or(0, |entry| entry.opened.load());
            let reasons = arrays.reasons(id).unwrap_or_default().iter().map(Atomic64::load);
            reasons.fold(opened, u64::wrapping_add)
        };
        ids.into_iter().map(of).fold(0, u64::wrapping_add)
    }

    fn set_right(&self, what: Counted, off: i64) {
        if let Some(active) = counter(&self.maps.arrays(), what) {
            // Not set: added, so that who takes a slot at this moment keeps it.
            active.fetch_add(off.wrapping_neg().cast_unsigned());
        }
    }

    /// Whether its account, or the backend, serves or is going.
    fn is_in_use(&self, what: Counted) -> bool {
        match what {
            Counted::Account(id) | Counted::Ejected(id) => self.applied.account(id).is_some(),
            Counted::Backend(id) => {
                let tag = self.maps.arrays().backend(id).map_or(0, |entry| entry.tag.load());
                BackendTag::unpack(tag).is_some()
            }
            Counted::Client(_) => true,
        }
    }
}

/// The counter itself.
fn counter<'a>(arrays: &Arrays<'a>, what: Counted) -> Option<&'a Atomic64> {
    match what {
        Counted::Account(id) => arrays.service(id).map(|entry| &entry.active),
        Counted::Backend(id) => arrays.backend(id).map(|entry| &entry.active),
        Counted::Client(place) => arrays.clients.get(place as usize).map(|entry| &entry.active),
        Counted::Ejected(id) => arrays.outlier(id).map(|entry| &entry.ejected),
    }
}

/// Whether it became [`LOOKED_FOR_AFTER`] old, or twice as old, or four times, between two moments.
fn is_of_age(connection: &Connection, before: u64, now: u64) -> bool {
    let doublings = |at: u64| (at.saturating_sub(connection.opened_at) / LOOKED_FOR_AFTER).checked_ilog2();
    connection.frontend.protocol() == Protocol::Tcp && doublings(before) < doublings(now)
}

/// Whether it is a connect() whose SYN has not been sent.
fn is_unconfirmed(connection: &Connection) -> bool {
    connection.frontend.protocol() == Protocol::Tcp && connection.flags & CONFIRMED == 0
}
