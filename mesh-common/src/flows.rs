//! Flows by client, each for as long as it is not idle: a window of places for each client, and no one who must free them.
//!
//! A flow is a UDP socket that is not connected and a Service's port that it sends to. Its client's flows lie in a window
//! of [`WINDOW`] places, which other clients' windows overlap; a new flow counts those of its client there. A place says
//! until when its flow lives; what is idle counts no more and may be taken by anybody, so it does not matter whether a
//! socket was closed, or whether an agent runs.
//!
//! Why a limit of N is N. Who wants a place claims it first, visibly, by compare-and-swap, and counts again afterwards:
//! of two that claim at once at least one sees the other, and who counts more than N gives up. A flow that has just
//! become idle cannot come back unnoticed: its client's next count empties its place, also by compare-and-swap, and then
//! it must claim one anew.

use crate::select::mix;
use crate::tables::{FlowPlace, ServiceId};

/// Places in which a client's flows may be; a power of two.
pub const WINDOW: u32 = 1024;

/// The highest limit: what neighbours may take of a window is left over.
pub const MOST: u32 = 900;

/// How many places are looked at for a flow before all are.
pub const NEAR: u32 = 4;

/// How often a lost race is tried again.
const TRIES: u32 = 4;

/// No position.
const NOWHERE: u32 = u32::MAX;

/// In a state: it is being claimed, by the client whose tag the other bits are.
const CLAIMED: u64 = 1 << 63;

/// Why a flow has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// The client has as many flows as it may.
    AtLimit,
    /// Others hold all places of the window.
    TableFull,
    /// Every race was lost.
    Contended,
}

/// A flow, and what a look at its client's window has found.
#[repr(C)]
#[derive(Debug)]
pub struct Search {
    owner: u64,
    cookie: u64,
    service: u64,
    now: u64,
    free_state: u64,
    own: u32,
    free: u32,
    found: u32,
    first: u32,
    near: u32,
    mask: u32,
}

impl Search {
    /// For the flow of a socket to a Service's port, in a table of `len` places (a power of two, [`WINDOW`] or more).
    /// `now` is in nanoseconds of the monotonic clock, and not 0.
    #[inline(always)]
    pub const fn new(owner: u64, cookie: u64, service: ServiceId, now: u64, len: u32) -> Self {
        let service = service.0 as u64;
        let near = mix(cookie ^ service << 40) as u32;
        let (first, mask) = (mix(owner) as u32, len.wrapping_sub(1));
        Self { owner, cookie, service, now, free_state: 0, own: 0, free: NOWHERE, found: NOWHERE, first, near, mask }
    }

    /// Where the flow is looked for at this step: its own position first, all others of the window afterwards.
    #[inline(always)]
    pub const fn position(&self, step: u32) -> u32 {
        self.first.wrapping_add(self.near.wrapping_add(step) & (WINDOW - 1)) & self.mask
    }

    #[inline(always)]
    fn start(&mut self) {
        (self.own, self.free, self.found) = (0, NOWHERE, NOWHERE);
    }

    #[inline(always)]
    fn is_here(&self, place: &FlowPlace) -> bool {
        place.owner.load() == self.owner && place.cookie.load() == self.cookie && place.service.load() == self.service
    }

    #[inline(always)]
    const fn claim(&self) -> u64 {
        CLAIMED | self.owner
    }

    /// Looks at the place at a position; whether that ends the look.
    #[inline(always)]
    pub fn visit(&mut self, position: u32, place: &FlowPlace) -> bool {
        let state = place.state.load();
        if state & CLAIMED != 0 {
            if state == self.claim() {
                self.own = self.own.wrapping_add(1);
            }
            return false;
        }
        let is_own = state != 0 && place.owner.load() == self.owner;
        if state > self.now {
            if is_own {
                self.own = self.own.wrapping_add(1);
                if self.is_here(place) {
                    self.found = position;
                    return true;
                }
            }
            return false;
        }
        // From here on it must claim a place anew; unless it has just gone on.
        let mut left = state;
        if is_own {
            if place.state.compare_exchange(state, 0).is_err() {
                self.own = self.own.wrapping_add(1);
                return false;
            }
            left = 0;
        }
        if self.free == NOWHERE {
            self.free = position;
            self.free_state = left;
        }
        false
    }

    /// Whether the flow has its place here and keeps it for `idle` nanoseconds from now.
    #[inline(always)]
    pub fn goes_on(&self, place: &FlowPlace, idle: u64) -> bool {
        let state = place.state.load();
        if state & CLAIMED != 0 || state <= self.now || !self.is_here(place) {
            return false;
        }
        // Written once in a while: an eighth of the idle time is not worth a store for each datagram.
        let until = self.now.wrapping_add(idle);
        if state.wrapping_add(idle >> 3) >= until {
            return true;
        }
        match place.state.compare_exchange(state, until) {
            Ok(_) => true,
            // Another datagram of the same socket was first.
            Err(now) => now & CLAIMED == 0 && now > self.now && self.is_here(place),
        }
    }
}

/// A place for the flow, kept for `idle` nanoseconds: the one it has, or a new one if its client has fewer than `limit`.
/// Whether it is new. `look` visits every place of the window, or as many as it takes.
#[inline(always)]
pub fn admit<'a>(
    search: &mut Search,
    look: &impl Fn(&mut Search),
    table: &impl Fn(u32) -> Option<&'a FlowPlace>,
    limit: u32,
    idle: u64,
) -> Result<bool, NoPlace> {
    for _ in 0..TRIES {
        search.start();
        look(search);
        if search.found != NOWHERE {
            match table(search.found) {
                Some(place) if search.goes_on(place, idle) => return Ok(false),
                _ => continue,
            }
        }
        if search.own >= limit {
            return Err(NoPlace::AtLimit);
        }
        if search.free == NOWHERE {
            return Err(NoPlace::TableFull);
        }
        let Some(place) = table(search.free) else { continue };
        if place.state.compare_exchange(search.free_state, search.claim()).is_err() {
            continue;
        }
        search.start();
        look(search);
        if search.found == NOWHERE && search.own <= limit {
            place.owner.store(search.owner);
            place.cookie.store(search.cookie);
            place.service.store(search.service);
            place.state.store(search.now.wrapping_add(idle));
            return Ok(true);
        }
        place.state.store(0);
    }
    Err(NoPlace::Contended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    const LEN: u32 = 2 * WINDOW;
    const IDLE: u64 = 800;

    struct Places(Vec<FlowPlace>);

    impl Places {
        fn new() -> Self {
            Self((0..LEN).map(|_| FlowPlace::new()).collect())
        }

        fn send(&self, client: u64, cookie: u64, now: u64, limit: u32) -> Result<bool, NoPlace> {
            let at = |position: u32| self.0.get(position as usize);
            let mut search = Search::new(clients::key(ServiceId(1), client), cookie, ServiceId(2), now, LEN);
            for step in 0..NEAR {
                if search.goes_on(at(search.position(step)).unwrap(), IDLE) {
                    return Ok(false);
                }
            }
            let look = |search: &mut Search| {
                for step in 0..WINDOW {
                    let position = search.position(step);
                    if search.visit(position, at(position).unwrap()) {
                        break;
                    }
                }
            };
            admit(&mut search, &look, &at, limit, IDLE)
        }
    }

    #[test]
    fn a_flow_counts_until_it_is_idle() {
        let places = Places::new();
        assert_eq!(places.send(1, 10, 1_000, 2), Ok(true));
        assert_eq!(places.send(1, 11, 1_000, 2), Ok(true));
        assert_eq!(places.send(1, 12, 1_000, 2), Err(NoPlace::AtLimit));
        assert_eq!(places.send(2, 12, 1_000, 2), Ok(true), "another client");
        assert_eq!(places.send(1, 10, 1_700, 2), Ok(false), "it goes on");
        assert_eq!(places.send(1, 12, 1_799, 2), Err(NoPlace::AtLimit));
        assert_eq!(places.send(1, 12, 1_800, 2), Ok(true), "one is idle");
        assert_eq!(places.send(1, 11, 1_801, 2), Err(NoPlace::AtLimit), "it has lost its place");
        assert_eq!(places.send(1, 10, 2_300, 2), Ok(false));
        assert_eq!(places.send(1, 13, 2_300, 1), Err(NoPlace::AtLimit), "a lowered limit");
        assert_eq!(places.send(1, 10, 2_300, 1), Ok(false), "which ends nothing");
    }

    #[test]
    fn as_many_as_the_highest_limit_fit_and_a_full_window_says_so() {
        let places = Places::new();
        for cookie in 0..u64::from(MOST) {
            assert_eq!(places.send(1, cookie, 1_000, MOST), Ok(true));
        }
        assert_eq!(places.send(1, 9_999, 1_000, MOST), Err(NoPlace::AtLimit));
        for cookie in 0..u64::from(MOST) {
            assert_eq!(places.send(1, cookie, 1_000, MOST), Ok(false), "each has one place");
        }
        let full = (0..u64::from(LEN)).find_map(|cookie| places.send(1, 100_000 + cookie, 1_000, u32::MAX).err());
        assert_eq!(full, Some(NoPlace::TableFull));
    }

    /// Flows that live for a moment, on a clock that threads move: never more than the limit live at once.
    #[test]
    fn under_storm_no_client_has_more_flows_than_its_limit() {
        const LIMIT: usize = 3;
        let (places, clock) = (Places::new(), AtomicU64::new(1_000));
        let admitted = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..6u64 {
                let (places, clock, admitted) = (&places, &clock, &admitted);
                scope.spawn(move || {
                    for round in 0..400u64 {
                        let now = clock.fetch_add(IDLE / 16, SeqCst) + 1;
                        let cookie = mix(thread * 1_000 + round) % 12;
                        if places.send(1, cookie, now, LIMIT as u32).is_ok() {
                            admitted.fetch_add(1, SeqCst);
                        }
                        let seen: Vec<(u64, u64)> =
                            places.0.iter().map(|place| (place.state.load(), place.cookie.load())).collect();
                        // What lives on at a later time cannot have lapsed while the places were read.
                        let now = clock.load(SeqCst);
                        let live = seen.into_iter().filter(|(state, _)| state & CLAIMED == 0 && *state > now);
                        let cookies: Vec<u64> = live.map(|(_, cookie)| cookie).collect();
                        assert!(cookies.len() <= LIMIT, "{cookies:?}");
                        assert_eq!(cookies.iter().collect::<HashSet<_>>().len(), cookies.len(), "{cookies:?}");
                    }
                });
            }
        });
        assert!(admitted.load(SeqCst) > 100);
    }
}
