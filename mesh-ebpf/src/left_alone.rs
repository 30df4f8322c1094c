//! Pods whose connections are left alone: another mesh serves them.
//!
//! A pod is its cgroup, and the calling task is in it or somewhere below. At which levels pods are the agent says, so that
//! a node without such pods pays one load, and only for a destination that is a Service's.

use crate::maps::{LEFT_ALONE, SETTINGS};
use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use mesh_common::tables::Settings;

/// Whether the calling task is in a pod that is left alone.
#[inline(always)]
pub fn is_client() -> bool {
    match SETTINGS.get(0).map(|settings| settings.left_alone.load()) {
        None | Some(0) => false,
        Some(levels) => is_among(levels),
    }
}

/// A function of its own: its key is not in the caller's frame.
#[inline(never)]
fn is_among(levels: u64) -> bool {
    for level in 0..Settings::LEVELS {
        if levels & 1 << level == 0 {
            continue;
        }
        // SAFETY: a helper; it gives 0 for a level that the task's cgroup does not have.
        let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level.cast_signed()) };
        // SAFETY: only whether the element is there is asked.
        if unsafe { LEFT_ALONE.get(cgroup) }.is_some() {
            return true;
        }
    }
    false
}
