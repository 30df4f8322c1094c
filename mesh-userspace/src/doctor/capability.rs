//! What this process may do.

use super::Check;

/// A capability by its number in linux/capability.h, and what it is for.
struct Needed {
    name: &'static str,
    number: u32,
    purpose: &'static str,
    /// Whether `CAP_SYS_ADMIN` does as well (linux/capability.h says so of `CAP_BPF` and `CAP_PERFMON`).
    or_admin: bool,
}

const SYS_ADMIN: u32 = 21;

const NEEDED: &[Needed] = &[
    Needed { name: "CAP_BPF", number: 39, purpose: "load programs and make maps", or_admin: true },
    Needed { name: "CAP_NET_ADMIN", number: 12, purpose: "attach programs and end sockets", or_admin: false },
    Needed { name: "CAP_PERFMON", number: 38, purpose: "load programs as the verifier lets root", or_admin: true },
    Needed { name: "CAP_SYS_ADMIN", number: SYS_ADMIN, purpose: "enter pods' network namespaces", or_admin: false },
];

/// Whether this process has what the agent needs.
pub fn check() -> Check {
    match procfs::process::Process::myself().and_then(|process| process.status()) {
        Ok(status) => judge(status.capeff),
        Err(error) => Check::warning("capabilities", format!("/proc/self/status: {error}"), "mount /proc"),
    }
}

/// The verdict on a set of effective capabilities.
fn judge(effective: u64) -> Check {
    const NAME: &str = "capabilities";
    let has = |number: u32| effective >> number & 1 == 1;
    let absent: Vec<_> = NEEDED
        .iter()
        .filter(|needed| !(has(needed.number) || needed.or_admin && has(SYS_ADMIN)))
        .map(|needed| format!("{} (to {})", needed.name, needed.purpose))
        .collect();
    if absent.is_empty() {
        return Check::ok(NAME, "this process has what the agent needs");
    }
    Check::failed(
        NAME,
        format!("this process lacks {}", absent.join(", ")),
        "run as root, with sudo or in a privileged container",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn root_has_all_and_nobody_is_told_what_lacks() {
        assert_eq!(judge(u64::MAX).verdict, Verdict::Ok);
        let check = judge(0);
        assert_eq!(check.verdict, Verdict::Failed);
        assert!(NEEDED.iter().all(|needed| check.message.contains(needed.name)));
    }

    #[test]
    fn sys_admin_stands_in_for_what_was_split_from_it() {
        assert_eq!(judge(1 << SYS_ADMIN | 1 << 12).verdict, Verdict::Ok);
        assert!(judge(1 << SYS_ADMIN).message.contains("CAP_NET_ADMIN"));
    }
}
