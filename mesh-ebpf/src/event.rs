//! What was decided: counted always, reported in samples.

use crate::choice::Choice;
use crate::context::SockAddr;
use crate::maps::{EVENT_BUDGET, EVENTS, REASON_COUNTS, SETTINGS};
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_ns};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use mesh_common::address::{Address, Port};
use mesh_common::rate;
use mesh_common::reason::Reason;
use mesh_common::tables::{Backend, BackendTag, COMM_LEN, Connection, Event, FrontendKey, ServiceId, Settings};

/// What a decision is about.
pub struct Occasion<'a> {
    pub cookie: u64,
    pub frontend: &'a FrontendKey,
    pub service: ServiceId,
}

/// Counts one choice or refusal of a service. `Selected` is counted by the service's `opened` instead.
#[inline(always)]
pub fn count(service: ServiceId, reason: Reason) {
    count_number(service, reason as u32);
}

/// [`count`] by the reason's number.
#[inline(always)]
pub fn count_number(service: ServiceId, reason: u32) {
    if let Some(counter) = REASON_COUNTS.get(service.0.wrapping_mul(Reason::COLUMNS).wrapping_add(reason)) {
        counter.fetch_add(1);
    }
}

/// Counts a refusal and reports it.
#[inline(always)]
pub fn refused<const V6: bool>(socket: &SockAddr<V6>, occasion: &Occasion<'_>, reason: Reason) {
    count(occasion.service, reason);
    if let Some(settings) = SETTINGS.get(0) {
        report(settings, socket.netns(), occasion, reason, Address::default(), Port::default());
    }
}

/// Counts a choice and reports one in so many.
#[inline(always)]
pub fn chosen<const V6: bool>(socket: &SockAddr<V6>, occasion: &Occasion<'_>, choice: &Choice) {
    if !matches!(choice.reason, Reason::Selected) {
        count(occasion.service, choice.reason);
    }
    let Some(settings) = SETTINGS.get(0) else { return };
    // The low bits: picking uses the high ones.
    if settings.unsampled.load() & (1 << 32 | u64::from(choice.random)) != 0 {
        return;
    }
    let port = BackendTag::port_of(choice.backend.tag.load());
    report(settings, socket.netns(), occasion, choice.reason, choice.backend.address, port);
}

/// Reports that a backend is ejected. Not sampled: it is as rare as it is worth knowing.
#[inline(always)]
pub fn ejected(held: &Connection, backend: &Backend) {
    let Some(settings) = SETTINGS.get(0) else { return };
    if settings.event_cost.load() == 0 {
        return;
    }
    let event = Event {
        // SAFETY: a helper without arguments.
        at: unsafe { bpf_ktime_get_ns() },
        cookie: 0,
        netns: held.netns,
        cgroup: 0,
        frontend: held.frontend,
        service: held.service,
        backend: backend.address,
        backend_port: BackendTag::port_of(backend.tag.load()),
        reason: Reason::Ejected as u8,
        _pad: 0,
        // A retransmission timer or an answer runs on anybody's time: no process is to blame.
        pid: 0,
        comm: [0; COMM_LEN],
    };
    if EVENTS.output(event, 0).is_err() {
        settings.events_lost.fetch_add(1);
    }
}

/// Writes an event, within this processor's budget.
#[inline(always)]
fn report(settings: &Settings, netns: u64, occasion: &Occasion<'_>, reason: Reason, backend: Address, port: Port) {
    let cost = settings.event_cost.load();
    if cost == 0 {
        return;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let within = match EVENT_BUDGET.get_ptr_mut(0) {
        // SAFETY: this processor's own value; a program that preempts this one may spend the same budget twice, which
        // costs an event more.
        Some(spent_until) => unsafe {
            match rate::spend(*spent_until, now, cost) {
                Some(until) => {
                    *spent_until = until;
                    true
                }
                None => false,
            }
        },
        None => false,
    };
    if !within {
        settings.events_lost.fetch_add(1);
        return;
    }
    let event = Event {
        at: now,
        cookie: occasion.cookie,
        netns,
        // SAFETY: a helper without arguments.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        frontend: *occasion.frontend,
        service: occasion.service,
        backend,
        backend_port: port,
        reason: reason as u8,
        _pad: 0,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or([0; COMM_LEN]),
    };
    if EVENTS.output(event, 0).is_err() {
        settings.events_lost.fetch_add(1);
    }
}
