//! Limits by client and by rate: what few Services ask for, in functions of their own.
//!
//! They come first, before a slot of the Service is taken: a client that hammers at its own limit takes nothing from the
//! others, not even for an instant.

use crate::event;
use crate::maps::{CLIENTS, TRAFFIC};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_loop};
use core::ffi::c_void;
use mesh_common::admission::Full;
use mesh_common::clients::{self, NoPlace};
use mesh_common::rate::{self, Spent};
use mesh_common::reason::Reason;
use mesh_common::tables::{ClientState, OBSERVE, ServiceId, Traffic, UNLIMITED, sizes};

/// How often a client's place is looked for: of connections that come at once from a client without one, one claims it,
/// and the others see it in some tens of nanoseconds.
const TRIES: u32 = 128;

/// Takes a slot of the client, where it is limited, and spends of the rates. The client's place in `CLIENTS` plus 1, if a
/// slot was taken there, else 0.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "only what is not below 0 is cast")]
pub fn take(account: ServiceId, service: ServiceId, netns: u64) -> Result<u32, Reason> {
    match take_at_once(account.0, netns) {
        AGAIN => {}
        place => return Ok(place as u32),
    }
    let place = client(account.0, service.0, netns);
    let place = if place < 0 { place } else { rates(account.0, service.0, place as u32) };
    match place {
        0.. => Ok(place as u32),
        CLIENT_LIMIT => Err(Reason::ClientLimit),
        CLIENT_RATE => Err(Reason::ClientRate),
        SERVICE_RATE => Err(Reason::ServiceRate),
        TABLE_FULL => Err(Reason::TableFull),
        _ => Err(Reason::Contended),
    }
}

/// Whether a reason found after [`take`] refuses the connection: then what was taken is given back. In mode Observe a limit
/// only counts.
#[inline(always)]
pub fn refuses(account: ServiceId, service: ServiceId, place: u32, reason: Reason) -> bool {
    let observed = match reason.observed() {
        Some(observed) => observed as u32,
        None => 0,
    };
    undo(account.0, service.0, place, observed) != 0
}

/// Gives a slot of a client back, by its place.
#[inline(always)]
pub fn give_back(place: u32) {
    if let Some(state) = CLIENTS.get(place) {
        clients::give_back(&state.active);
    }
}

const CLIENT_LIMIT: i64 = -1;
const CLIENT_RATE: i64 = -2;
const SERVICE_RATE: i64 = -3;
const TABLE_FULL: i64 = -4;
const CONTENDED: i64 = -5;
const AGAIN: i64 = -6;

// Functions of their own, as in `affinity`: their arguments and results are scalars, and none calls another, since all frames
// together have 512 bytes. They are global: the verifier looks at such a function once by itself, not on every path that calls
// it. With ejection beside limits, connect4 takes it 0.4 s that way, and 3 s otherwise.

/// Counts `counted_as`, a reason's number, and answers 0, in mode Observe; else undoes [`take`] and answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn undo(account: u32, service: u32, place: u32, counted_as: u32) -> u64 {
    let Some(traffic) = TRAFFIC.get(account) else { return 1 };
    let observes = observes(traffic);
    if observes && counted_as != 0 {
        event::count_number(ServiceId(service), counted_as);
        return 0;
    }
    let state = if place == 0 { None } else { CLIENTS.get(place - 1) };
    // Who only observes may have let pass what was not spent.
    if !observes {
        rate::refund(&traffic.spent_until, traffic.rate_cost.load());
    }
    if let Some(state) = state {
        if !observes {
            rate::refund(&state.spent_until, traffic.client_rate_cost.load());
        }
        clients::give_back(&state.active);
    }
    1
}

/// Whether the account's limits only count.
#[inline(always)]
fn observes(traffic: &Traffic) -> bool {
    traffic.flags.load() & OBSERVE != 0
}

/// Counts in mode Observe what would have been refused, and lets it pass.
#[inline(always)]
fn passes(traffic: &Traffic, service: u32, counted_as: Reason) -> bool {
    let observes = observes(traffic);
    if observes {
        event::count(ServiceId(service), counted_as);
    }
    observes
}

/// [`take`] where nothing is in the way: the client's place is the first that is looked at, nothing is at its limit, no race is
/// lost. Else [`AGAIN`], and nothing is taken. It looks each thing up once, and has no loops: with the two functions below as
/// one, which costs as little, the verifier takes twice as long for connect4.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_at_once(account: u32, netns: u64) -> i64 {
    let Some(traffic) = TRAFFIC.get(account) else { return 0 };
    let (limit, client_cost) = (traffic.client_limit.load(), traffic.client_rate_cost.load());
    let cost = traffic.rate_cost.load();
    if limit | client_cost == 0 {
        let is_taken = cost == 0 || rate::take_once(&traffic.spent_until, now(), cost, traffic.rate_burst.load());
        return if is_taken { 0 } else { AGAIN };
    }
    let key = clients::key(ServiceId(account), netns);
    let place = clients::first(key, sizes::CLIENTS);
    let Some(state) = CLIENTS.get(place) else { return AGAIN };
    // 0 is for no limit, and the number below it is that, too.
    if !clients::take_once(state, key, limit.wrapping_sub(1)) {
        return AGAIN;
    }
    if cost | client_cost != 0 {
        let now = now();
        if client_cost != 0 && !rate::take_once(&state.spent_until, now, client_cost, traffic.client_rate_burst.load())
        {
            clients::give_back(&state.active);
            return AGAIN;
        }
        if cost != 0 && !rate::take_once(&traffic.spent_until, now, cost, traffic.rate_burst.load()) {
            // Where there is no rate, its cost is 0, and nothing was spent.
            rate::refund(&state.spent_until, client_cost);
            clients::give_back(&state.active);
            return AGAIN;
        }
    }
    i64::from(place) + 1
}

/// The clock of the rates.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Takes a slot of the client: its place plus 1, 0 where clients have no limits, or what refused.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn client(account: u32, service: u32, netns: u64) -> i64 {
    let Some(traffic) = TRAFFIC.get(account) else { return 0 };
    let limit = traffic.client_limit.load();
    if limit == 0 && traffic.client_rate_cost.load() == 0 {
        return 0;
    }
    let key = clients::key(ServiceId(account), netns);
    let limit = if limit == 0 { UNLIMITED } else { limit - 1 };
    // SAFETY: a helper without arguments. A clock that is some milliseconds late forgets nobody too early.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let mut search = Search { key, limit, now, found: CONTENDED };
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(TRIES, try_client as *mut c_void, (&raw mut search).cast(), 0) };
    if search.found < 0 && passes(traffic, service, Reason::ObservedClientLimit) {
        search.limit = UNLIMITED;
        // SAFETY: as above.
        unsafe { bpf_loop(TRIES, try_client as *mut c_void, (&raw mut search).cast(), 0) };
        // What cannot be counted is let pass, too: observing refuses nothing.
        return if search.found < 0 { 0 } else { search.found };
    }
    search.found
}

/// Spends of the client's rate and of the Service's: the place again, or what refused; then the place is given back.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rates(account: u32, service: u32, place: u32) -> i64 {
    let Some(traffic) = TRAFFIC.get(account) else { return i64::from(place) };
    let (cost, client_cost) = (traffic.rate_cost.load(), traffic.client_rate_cost.load());
    if cost == 0 && client_cost == 0 {
        return i64::from(place);
    }
    let now = now();
    let state = if place == 0 { None } else { CLIENTS.get(place - 1) };
    let mut refused = 0;
    let mut spent = 0;
    if let Some(state) = state
        && client_cost != 0
    {
        match rate::take(&state.spent_until, now, client_cost, traffic.client_rate_burst.load()) {
            Ok(()) => spent = client_cost,
            Err(_) if passes(traffic, service, Reason::ObservedClientRate) => {}
            Err(Spent::All) => refused = CLIENT_RATE,
            Err(Spent::Contended) => refused = CONTENDED,
        }
    }
    if refused == 0 && cost != 0 {
        match rate::take(&traffic.spent_until, now, cost, traffic.rate_burst.load()) {
            Ok(()) => {}
            Err(_) if passes(traffic, service, Reason::ObservedServiceRate) => {}
            Err(Spent::All) => refused = SERVICE_RATE,
            Err(Spent::Contended) => refused = CONTENDED,
        }
    }
    if refused == 0 {
        return i64::from(place);
    }
    if let Some(state) = state {
        // What the Service refused is not taken off the client's rate.
        if spent != 0 {
            rate::refund(&state.spent_until, spent);
        }
        clients::give_back(&state.active);
    }
    refused
}

/// What the search for a client's place needs to know, and what it found: the place plus 1, or what refused.
struct Search {
    key: u64,
    limit: u64,
    now: u64,
    found: i64,
}

/// One try; 1 ends the search.
extern "C" fn try_client(_: u64, search: *mut c_void) -> i64 {
    // SAFETY: `client` passes its own `Search`, which nobody else holds.
    let search = unsafe { &mut *search.cast::<Search>() };
    let table = |place: u32| -> Option<&'static ClientState> { CLIENTS.get(place) };
    let place = match clients::place(&table, sizes::CLIENTS, search.key, search.now) {
        Ok(place) => place,
        Err(NoPlace::TableFull) => {
            search.found = TABLE_FULL;
            return 1;
        }
        Err(NoPlace::Contended) => return 0,
    };
    let Some(state) = table(place) else { return 0 };
    search.found = match clients::take(state, search.key, search.limit) {
        Ok(true) => i64::from(place) + 1,
        Ok(false) => return 0,
        Err(Full::AtLimit) => CLIENT_LIMIT,
        Err(Full::Contended) => CONTENDED,
    };
    1
}
