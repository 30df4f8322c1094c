//! Which slot a Service's rule picks, by the clients, loads and ages that it looks at.

use crate::choice::in_slot;
use crate::health;
use crate::maps::TRAFFIC;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns};
use mesh_common::address::Port;
use mesh_common::atomic::Atomic64;
use mesh_common::select::least_connections::{self, Load};
use mesh_common::select::slow_start::{self, TRIES};
use mesh_common::select::{self, Algorithm, Draw};
use mesh_common::tables::{Backend, Rule, Service, SlotRange, Traffic};

/// Who picks.
#[derive(Clone, Copy)]
pub struct Client {
    /// Its network namespace.
    pub netns: u64,
    /// The port that it dials.
    pub port: Port,
}

/// 32 random bits.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_prandom_u32() }
}

/// The position that the service's rule picks, whatever limits say.
#[inline(always)]
pub fn position(service: &Service, range: SlotRange, random: u32, client: Client) -> u32 {
    let rule = service.rule.load();
    let algorithm = Rule::algorithm_of(rule);
    let port = if Rule::hashes_port(rule) { client.port.host() } else { 0 };
    let draw = Draw { random, cursor: &service.cursor, len: range.len, client: client.netns, port };
    let mut position = select::pick(algorithm, &draw);
    if algorithm == Algorithm::Maglev as u8 {
        return position;
    }
    if algorithm == Algorithm::LeastConnections as u8 {
        let rival = least_connections::rival(position, random, range.len);
        if let (Some((_, one)), Some((_, other))) =
            (in_slot(range.base.wrapping_add(position)), in_slot(range.base.wrapping_add(rival)))
            && least_connections::is_less_loaded(load(other), load(one))
        {
            position = rival;
        }
    }
    let judged = health::judged(rule);
    if Rule::has_traffic(rule)
        && let Some(traffic) = TRAFFIC.get(Rule::account_of(rule).0)
        && traffic.slow_start_window.load() > 0
    {
        position = warmed(traffic, &service.cursor, range.pack(), algorithm, position);
    }
    if judged != 0 {
        return healthy(judged, &service.cursor, range.pack(), algorithm, position);
    }
    position
}

/// Picks anew, by turns or at random, while an ejected backend is picked; a few times. So what it does not take is shared
/// among the others, where the next slot alone would get it.
#[inline(never)]
fn healthy(judged: u32, cursor: &Atomic64, range: u64, algorithm: u8, mut position: u32) -> u32 {
    let SlotRange { base, len } = SlotRange::unpack(range);
    for _ in 0..TRIES {
        let Some((_, backend)) = in_slot(base.wrapping_add(position)) else { break };
        if !health::is_out(judged, backend) {
            break;
        }
        position = select::pick(algorithm, &Draw { random: random(), cursor, len, client: 0, port: 0 });
    }
    position
}

#[inline(always)]
fn load(backend: &Backend) -> Load {
    Load { active: backend.active.load(), weight: backend.weight.load() }
}

/// Picks anew, by turns or at random, while a new backend is picked more often than its age allows; a few times. A
/// function of its own: inlined wherever it is needed it makes the programs a third larger.
#[inline(never)]
fn warmed(traffic: &Traffic, cursor: &Atomic64, range: u64, algorithm: u8, mut position: u32) -> u32 {
    let SlotRange { base, len } = SlotRange::unpack(range);
    let (window, ramp) = (traffic.slow_start_window.load(), traffic.ramp());
    let from = traffic.slow_start_from.load() as u16;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    for _ in 0..TRIES {
        let Some((_, backend)) = in_slot(base.wrapping_add(position)) else { break };
        let age = now.saturating_sub(backend.since.load());
        let random = random();
        // The low bits: picking uses the high ones.
        if slow_start::accepts(&ramp, from, window, age, random as u16) {
            break;
        }
        position = select::pick(algorithm, &Draw { random, cursor, len, client: 0, port: 0 });
    }
    position
}
