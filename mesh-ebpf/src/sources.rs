//! Clients that may reach a Service at its load balancer's addresses (`loadBalancerSourceRanges`).
//!
//! A client's address is that of its pod, which is its cgroup, or the node's. The agent knows both and the ranges; a client
//! that it does not know, as a pod that has just begun, is refused.

use crate::maps::{SETTINGS, SOURCES};
use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use mesh_common::tables::{Rule, ServiceId, Settings, SourceKey};

/// Whether the client may come in by an entry with this rule. A branch for one that is not fenced.
#[inline(always)]
pub fn may_reach(rule: u64, v6: bool, netns: impl FnOnce() -> u64) -> bool {
    !Rule::is_fenced(rule) || is_in_range(Rule::account_of(rule).0, u32::from(v6), netns())
}

/// A function of its own: its key is not in the caller's frame.
#[inline(never)]
fn is_in_range(account: u32, v6: u32, netns: u64) -> bool {
    let Some(settings) = SETTINGS.get(0) else { return false };
    let is_there = |cgroup| {
        let key = SourceKey { cgroup, account: ServiceId(account), v6 };
        // SAFETY: only whether the element is there is asked.
        unsafe { SOURCES.get(key) }.is_some()
    };
    if settings.node_netns.load() == netns {
        return is_there(SourceKey::NODE);
    }
    let levels = settings.sources.load();
    for level in 0..Settings::LEVELS {
        if levels & 1 << level == 0 {
            continue;
        }
        // SAFETY: a helper; it gives 0 for a level that the task's cgroup does not have.
        let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level.cast_signed()) };
        if cgroup != SourceKey::NODE && is_there(cgroup) {
            return true;
        }
    }
    false
}
