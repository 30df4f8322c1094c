//! Limits on the flows of a client: UDP sockets that are not connected.

use crate::event;
use crate::maps::{FLOW_PLACES, TRAFFIC};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_loop};
use core::ffi::c_void;
use mesh_common::clients;
use mesh_common::flows::{self, NEAR, NoPlace, Search, WINDOW};
use mesh_common::reason::Reason;
use mesh_common::tables::{FlowPlace, OBSERVE, Rule, ServiceId, sizes};

/// Keeps the flow's place, or takes one, where the Service limits its clients' flows; or says what refuses the datagram.
#[inline(always)]
pub fn keep(rule: u64, service: ServiceId, cookie: u64, netns: u64) -> Result<(), Reason> {
    if !Rule::has_traffic(rule) {
        return Ok(());
    }
    match flow_place(Rule::account_of(rule).0, service.0, cookie, netns) {
        0 => Ok(()),
        AT_LIMIT => Err(Reason::FlowLimit),
        TABLE_FULL => Err(Reason::TableFull),
        _ => Err(Reason::Contended),
    }
}

const AT_LIMIT: i64 = -1;
const TABLE_FULL: i64 = -2;
const CONTENDED: i64 = -3;

/// 0, or what refuses the datagram. Global, as those in `limits`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn flow_place(account: u32, service: u32, cookie: u64, netns: u64) -> i64 {
    let Some(traffic) = TRAFFIC.get(account) else { return 0 };
    let limit = traffic.flow_limit.load() as u32;
    if limit == 0 {
        return 0;
    }
    let idle = traffic.flow_idle.load();
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let owner = clients::key(ServiceId(account), netns);
    let mut search = Search::new(owner, cookie, ServiceId(service), now, sizes::FLOW_PLACES);
    for step in 0..NEAR {
        if let Some(place) = FLOW_PLACES.get(search.position(step))
            && search.goes_on(place, idle)
        {
            return 0;
        }
    }
    let table = |position: u32| -> Option<&'static FlowPlace> { FLOW_PLACES.get(position) };
    match flows::admit(&mut search, &look, &table, limit.wrapping_sub(1), idle) {
        Ok(_) => 0,
        Err(refused) if traffic.flags.load() & OBSERVE != 0 => {
            if matches!(refused, NoPlace::AtLimit) {
                event::count(ServiceId(service), Reason::ObservedFlowLimit);
                // It counts all the same; what cannot be counted is let pass, too: observing refuses nothing.
                let _ = flows::admit(&mut search, &look, &table, u32::MAX, idle);
            }
            0
        }
        Err(NoPlace::AtLimit) => AT_LIMIT,
        Err(NoPlace::TableFull) => TABLE_FULL,
        Err(NoPlace::Contended) => CONTENDED,
    }
}

/// Looks at the whole window.
#[inline(always)]
fn look(search: &mut Search) {
    // SAFETY: the callback has the signature that the helper asks for, and `search` outlives the call.
    unsafe { bpf_loop(WINDOW, visit as *mut c_void, (&raw mut *search).cast(), 0) };
}

/// One place; 1 ends the look.
extern "C" fn visit(step: u64, search: *mut c_void) -> i64 {
    // SAFETY: `look` passes its own `Search`, which nobody else holds.
    let search = unsafe { &mut *search.cast::<Search>() };
    let position = search.position(step as u32);
    let Some(place) = FLOW_PLACES.get(position) else { return 0 };
    i64::from(search.visit(position, place))
}
