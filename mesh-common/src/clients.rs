//! Counts by client: a table of places that are claimed by compare-and-swap and never freed while they count anything.
//!
//! A client of a Service has one place in a window of [`WINDOW`] positions that its key hashes to. Whoever needs a place
//! for a key that has none claims an empty one, or one that counts nothing and whose rate is idle: so nobody has to free
//! anything, and a table forgets exactly those clients that it need not know.
//!
//! Why a limit of N is N. A key has one place at most: a claim is first [`PENDING`], then the window is looked at again,
//! and who sees another place of the same key there gives up its own; of two that claim at once at least one sees the
//! other. A count is taken by compare-and-swap, and the key compared again afterwards: a place that was forgotten in
//! between is given back at once, which for that instant counts one too many there, never one too few. And a place that
//! counts something is never forgotten: that takes a swap of a count of 0 for [`CLOSED`].

use crate::admission::{self, Full};
use crate::atomic::Atomic64;
use crate::select::mix;
use crate::tables::{ClientState, ServiceId, UNLIMITED};

/// Positions in which a key may be.
pub const WINDOW: u32 = 8;

/// No position.
const NOWHERE: u32 = u32::MAX;

/// In a key: it is being claimed.
const PENDING: u64 = 1 << 63;
/// In a count: the place is being forgotten.
const CLOSED: u64 = 1 << 63;

/// A client of a Service's account, packed; never 0. Accounts are below 2^24 (`--max-services`); cookies of network
/// namespaces are given out in a row and stay below 2^39 for as long as a host runs.
#[inline(always)]
pub const fn key(account: ServiceId, netns: u64) -> u64 {
    (account.0 as u64) << 39 & !PENDING | netns & ((1 << 39) - 1)
}

/// The account of a key.
pub const fn account_of(key: u64) -> ServiceId {
    ServiceId(((key & !PENDING) >> 39) as u32)
}

/// Where a key is looked for first, in a table of `len` places (a power of two): where it is, most often.
#[inline(always)]
pub const fn first(key: u64, len: u32) -> u32 {
    mix(key) as u32 & len.wrapping_sub(1)
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// Every position of the window counts for another client.
    TableFull,
    /// A race was lost, or another is claiming a place for the same key: look again.
    Contended,
}

/// The position of `key` in a table of `len` places (a power of two); claimed if need be.
#[inline(always)]
pub fn place<'a>(
    table: &impl Fn(u32) -> Option<&'a ClientState>,
    len: u32,
    key: u64,
    now: u64,
) -> Result<u32, NoPlace> {
    let first = first(key, len);
    let at = |step: u32| first.wrapping_add(step) & len.wrapping_sub(1);
    // An empty place rather than one whose client is to be forgotten. Plain numbers: of an `Option` the verifier sees a
    // number that nobody has written ("R9 !read_ok").
    let (mut empty, mut idle) = (NOWHERE, NOWHERE);
    let mut pending = false;
    for step in 0..WINDOW {
        let Some(state) = table(at(step)) else { continue };
        let found = state.key.load();
        if found == key {
            return Ok(at(step));
        }
        pending |= found == key | PENDING;
        if found == 0 {
            // The first of them: there it is met at once from then on.
            if empty == NOWHERE {
                empty = at(step);
            }
        } else if idle == NOWHERE && is_idle(state, now) {
            idle = at(step);
        }
    }
    if pending {
        return Err(NoPlace::Contended);
    }
    let position = if empty == NOWHERE { idle } else { empty };
    if position == NOWHERE {
        return Err(NoPlace::TableFull);
    }
    let Some(state) = table(position) else { return Err(NoPlace::Contended) };
    if !claim(state, key) {
        return Err(NoPlace::Contended);
    }
    let mut others = false;
    for step in 0..WINDOW {
        if at(step) != position
            && let Some(other) = table(at(step))
        {
            others |= other.key.load() & !PENDING == key;
        }
    }
    let settled = if others { 0 } else { key };
    let kept = state.key.compare_exchange(key | PENDING, settled).is_ok();
    if kept && !others { Ok(position) } else { Err(NoPlace::Contended) }
}

/// Whether the place may be forgotten: it counts nothing, and its rate is whole again.
#[inline(always)]
fn is_idle(state: &ClientState, now: u64) -> bool {
    state.active.load() == 0 && state.spent_until.load() <= now && state.key.load() & PENDING == 0
}

/// Forgets who is there, if nothing is counted, and puts in the key as pending.
#[inline(always)]
fn claim(state: &ClientState, key: u64) -> bool {
    let before = state.key.load();
    if before & PENDING != 0 {
        return false;
    }
    if before != 0 {
        // From here on until the place is open again nobody takes a count.
        if state.active.compare_exchange(0, CLOSED).is_err() {
            return false;
        }
        let forgotten = state.key.compare_exchange(before, 0).is_ok();
        state.active.fetch_sub(CLOSED);
        if !forgotten {
            return false;
        }
    }
    state.key.compare_exchange(0, key | PENDING).is_ok()
}

/// Takes one of the client's slots. `Ok(false)` when the place was forgotten meanwhile: look for it again.
#[inline(always)]
pub fn take(state: &ClientState, key: u64, limit: u64) -> Result<bool, Full> {
    // A closed place counts more than any limit.
    match admission::take(&state.active, if limit == UNLIMITED { CLOSED } else { limit }) {
        Ok(()) if state.key.load() == key => Ok(true),
        Ok(()) => {
            give_back(&state.active);
            Ok(false)
        }
        // A place that is being forgotten looks full; what is there once it is open again is another's.
        Err(Full::AtLimit) if state.key.load() != key || state.active.load() & CLOSED != 0 => Ok(false),
        Err(full) => Err(full),
    }
}

/// As [`take`], with one try: `false` also when the place is another's, or a race was lost.
#[inline(always)]
pub fn take_once(state: &ClientState, key: u64, limit: u64) -> bool {
    let taken = state.active.load();
    // A closed place counts more than any limit.
    let most = if limit < CLOSED { limit } else { CLOSED };
    if state.key.load() != key || taken >= most || state.active.compare_exchange(taken, taken + 1).is_err() {
        return false;
    }
    let is_own = state.key.load() == key;
    if !is_own {
        give_back(&state.active);
    }
    is_own
}

/// Gives one slot back. Whoever calls this holds one.
#[inline(always)]
pub fn give_back(active: &Atomic64) {
    admission::give_back(active);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    fn table(len: u32) -> Vec<ClientState> {
        (0..len).map(|_| ClientState::new()).collect()
    }

    #[test]
    fn a_key_keeps_its_place_while_it_counts_and_an_idle_one_gives_way() {
        let places = table(8);
        let at = |position: u32| places.get(position as usize);
        let own = key(ServiceId(1), 1);
        let position = place(&at, 8, own, 5).unwrap();
        assert_eq!(position, first(own, 8), "where it is looked for first");
        assert!(take(&places[position as usize], own, 1).unwrap());
        assert_eq!(take(&places[position as usize], own, 1), Err(Full::AtLimit));
        for netns in 2..100 {
            let other = place(&at, 8, key(ServiceId(1), netns), 5).unwrap();
            assert_ne!(other, position, "it counts");
        }
        assert_eq!(place(&at, 8, own, 5), Ok(position));
        give_back(&places[position as usize].active);
        // Eight that count fill the table.
        for netns in 200..208 {
            let own = key(ServiceId(1), netns);
            let position = place(&at, 8, own, 5).unwrap();
            assert!(take(&places[position as usize], own, UNLIMITED).unwrap());
        }
        assert_eq!(place(&at, 8, own, 5), Err(NoPlace::TableFull));
        // A rate that is not whole again is remembered.
        let first = &places[0];
        give_back(&first.active);
        first.spent_until.store(9);
        assert_eq!(place(&at, 8, own, 5), Err(NoPlace::TableFull));
        assert_eq!(place(&at, 8, own, 9), Ok(0));
    }

    #[test]
    fn keys_are_never_0_and_differ() {
        assert_ne!(key(ServiceId(1), 0), 0);
        assert_ne!(key(ServiceId(1), 7), key(ServiceId(2), 7));
        assert_eq!(key(ServiceId((1 << 24) - 1), (1 << 39) - 1) & PENDING, 0);
    }

    /// Few places, many clients, places forgotten all the time: no client ever holds more than its limit.
    #[test]
    fn under_storm_no_client_holds_more_than_its_limit_and_nothing_stays() {
        const LIMIT: u64 = 2;
        const CLIENTS: u64 = 12;
        let places = table(8);
        let held: Vec<AtomicU64> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
        let taken = AtomicU64::new(0);
        thread::scope(|scope| {
            for seed in 0..8u64 {
                let (places, held, taken) = (&places, &held, &taken);
                scope.spawn(move || {
                    let at = |position: u32| places.get(position as usize);
                    let mut state = mix(seed + 1);
                    for _ in 0..60_000 {
                        state = mix(state.wrapping_add(1));
                        let client = state % CLIENTS;
                        let own = key(ServiceId(3), client + 1);
                        let Ok(position) = place(&at, 8, own, 0) else { continue };
                        let place = &places[position as usize];
                        // The programs take at once where they can.
                        if take_once(place, own, LIMIT) || take(place, own, LIMIT) == Ok(true) {
                            let now = held[client as usize].fetch_add(1, SeqCst) + 1;
                            assert!(now <= LIMIT, "client {client} holds {now}");
                            taken.fetch_add(1, SeqCst);
                            thread::yield_now();
                            held[client as usize].fetch_sub(1, SeqCst);
                            give_back(&place.active);
                        }
                    }
                });
            }
        });
        assert!(taken.load(SeqCst) > 1_000);
        assert!(places.iter().all(|place| place.active.load() == 0));
    }
}
