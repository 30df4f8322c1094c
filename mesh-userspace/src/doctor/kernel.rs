//! The kernel: its version, its options, and how it runs BPF programs.

use super::Check;
use procfs::sys::kernel::Version;
use procfs::{ConfigSetting, ProcError};
use std::collections::HashMap;
use std::path::Path;

/// `bpf_set_retval` came with 5.18: without it a refusal would read as EPERM.
const OLDEST: Version = Version { major: 5, minor: 18, patch: 0 };

/// From 6.6 on programs are attached to interfaces by links.
const TCX: Version = Version { major: 6, minor: 6, patch: 0 };

/// From 5.11 on, BPF memory is accounted to the cgroup and no longer limited by `RLIMIT_MEMLOCK`.
const WITHOUT_MEMLOCK: Version = Version { major: 5, minor: 11, patch: 0 };

/// An option of the kernel, and what it is for.
struct Needed {
    option: &'static str,
    purpose: &'static str,
    /// Whether mesh works without it.
    optional: bool,
}

const fn needed(option: &'static str, purpose: &'static str) -> Needed {
    Needed { option, purpose, optional: false }
}

const fn wanted(option: &'static str, purpose: &'static str) -> Needed {
    Needed { option, purpose, optional: true }
}

const OPTIONS: &[Needed] = &[
    needed("CONFIG_BPF_SYSCALL", "to load programs"),
    needed("CONFIG_CGROUP_BPF", "to attach programs to a cgroup"),
    needed("CONFIG_INET", "to have sockets"),
    wanted("CONFIG_BPF_JIT", "or programs are interpreted, several times slower"),
    wanted("CONFIG_IPV6", "for IPv6 frontends"),
    wanted("CONFIG_INET_DIAG_DESTROY", "to end connections to a removed backend"),
    wanted("CONFIG_INET_UDP_DIAG", "to end UDP sockets of a removed backend"),
    wanted("CONFIG_NET_CLS_BPF", "for maxInboundConnectionsPerBackend by filters (`--tc-attach clsact`)"),
    wanted("CONFIG_NET_CLS_ACT", "for the verdicts of these"),
    wanted("CONFIG_NET_SCH_INGRESS", "for the clsact qdisc that they are on"),
    wanted("CONFIG_DEBUG_INFO_BTF", "for type information"),
];

/// Every check of the kernel.
pub fn checks() -> Vec<Check> {
    let version = Version::current();
    let mut checks = vec![judge_version(version.as_ref().ok())];
    checks.push(judge_options(procfs::kernel_config().as_ref()));
    checks.push(btf(Path::new("/sys/kernel/btf/vmlinux")));
    checks.push(judge_jit(std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok().as_deref()));
    if version.is_ok_and(|version| version < WITHOUT_MEMLOCK) {
        checks.push(memlock());
    }
    checks
}

fn judge_version(version: Option<&Version>) -> Check {
    const NAME: &str = "kernel-version";
    let words = |version: &Version| format!("{}.{}.{}", version.major, version.minor, version.patch);
    match version {
        None => Check::warning(NAME, "the kernel's version cannot be read", "mount /proc"),
        Some(version) if *version < OLDEST => Check::failed(
            NAME,
            format!("Linux {} is too old", words(version)),
            format!("use Linux {} or later", words(&OLDEST)),
        ),
        Some(version) if *version < TCX => Check::ok(
            NAME,
            format!(
                "Linux {}: limits at backends are kept by filters of clsact, from {} on by links",
                words(version),
                words(&TCX)
            ),
        ),
        Some(version) => Check::ok(NAME, format!("Linux {}", words(version))),
    }
}

fn judge_options(config: Result<&HashMap<String, ConfigSetting>, &ProcError>) -> Check {
    const NAME: &str = "kernel-options";
    let Ok(config) = config else {
        return Check::warning(
            NAME,
            "the kernel's options are not to be had: neither /proc/config.gz nor /boot/config",
            "nothing, if the checks below are well",
        );
    };
    let absent: Vec<_> = OPTIONS.iter().filter(|needed| !is_set(config, needed.option)).collect();
    if absent.is_empty() {
        return Check::ok(NAME, format!("all {} are there", OPTIONS.len()));
    }
    let message = absent.iter().map(|n| format!("{} ({})", n.option, n.purpose)).collect::<Vec<_>>().join(", ");
    let message = format!("not set: {message}");
    if absent.iter().all(|needed| needed.optional) {
        Check::warning(NAME, message, "use a kernel with these options if you need what they are for")
    } else {
        Check::failed(NAME, message, "use a kernel with these options, as distributions build them")
    }
}

fn is_set(config: &HashMap<String, ConfigSetting>, option: &str) -> bool {
    matches!(config.get(option), Some(ConfigSetting::Yes | ConfigSetting::Module))
}

fn btf(path: &Path) -> Check {
    if path.exists() {
        Check::ok("kernel-btf", format!("{} is there", path.display()))
    } else {
        Check::warning(
            "kernel-btf",
            format!("there is no {}", path.display()),
            "nothing for mesh itself; for traces use a kernel with CONFIG_DEBUG_INFO_BTF",
        )
    }
}

fn judge_jit(setting: Option<&str>) -> Check {
    const NAME: &str = "bpf-jit";
    match setting.map(str::trim) {
        Some("0") => Check::warning(
            NAME,
            "programs are interpreted: several times slower",
            "switch the compiler on: sysctl net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok(NAME, "programs are compiled"),
        None => Check::warning(
            NAME,
            "whether programs are compiled cannot be read",
            "nothing, if CONFIG_BPF_JIT_ALWAYS_ON is set; else look why /proc/sys/net/core is not there",
        ),
    }
}

fn memlock() -> Check {
    const NAME: &str = "memlock";
    match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft == nix::sys::resource::RLIM_INFINITY => Check::ok(NAME, "no limit"),
        Ok((soft, _)) => Check::warning(
            NAME,
            format!("{soft} bytes may be locked, and before Linux 5.11 the maps count"),
            "raise it: ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
        ),
        Err(error) => Check::warning(NAME, format!("the limit cannot be read: {error}"), "look at ulimit -l"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn an_old_kernel_is_told_which_to_use() {
        let check = judge_version(Some(&Version::new(5, 10, 200)));
        assert_eq!((check.verdict, check.action.as_str()), (Verdict::Failed, "use Linux 5.18.0 or later"));
        let check = judge_version(Some(&Version::new(6, 1, 0)));
        assert!(check.verdict == Verdict::Ok && check.message.contains("clsact"), "{}", check.message);
        assert_eq!(judge_version(None).verdict, Verdict::Warning);
    }

    #[test]
    fn options_that_are_needed_fail_and_those_that_help_warn() {
        let whole: HashMap<_, _> = OPTIONS.iter().map(|n| (n.option.to_owned(), ConfigSetting::Yes)).collect();
        assert_eq!(judge_options(Ok(&whole)).verdict, Verdict::Ok);
        let without = |option: &str| {
            let mut config = whole.clone();
            config.remove(option);
            judge_options(Ok(&config))
        };
        let check = without("CONFIG_IPV6");
        assert_eq!(
            (check.verdict, check.message.as_str()),
            (Verdict::Warning, "not set: CONFIG_IPV6 (for IPv6 frontends)")
        );
        assert_eq!(without("CONFIG_CGROUP_BPF").verdict, Verdict::Failed);
        assert_eq!(judge_options(Err(&ProcError::Other(String::new()))).verdict, Verdict::Warning);
    }

    #[test]
    fn an_interpreter_is_a_warning() {
        assert_eq!(judge_jit(Some("0\n")).verdict, Verdict::Warning);
        assert_eq!(judge_jit(Some("1\n")).verdict, Verdict::Ok);
        assert_eq!(judge_jit(None).verdict, Verdict::Warning);
    }
}
