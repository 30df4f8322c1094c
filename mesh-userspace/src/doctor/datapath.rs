//! The programs: pinned, attached where they should be, and run by the kernel for this cgroup.

use super::Check;
use crate::bpf;
use crate::config::DatapathConfig;
use crate::datapath::{Cgroup, HOOKS, Hook, Pins, attached};
use std::os::fd::AsFd;

/// How a program is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Found {
    /// The kernel runs it; and so many other programs at the same hook.
    InForce { others: usize },
    /// There is no pin.
    Absent,
    /// It is there, and something is wrong with it.
    Wrong(String),
}

/// Whether the programs are in force. `expected` when an agent says that it serves.
pub fn checks(datapath: &DatapathConfig, expected: bool) -> Vec<Check> {
    // What is wrong with the cgroup, its own check says.
    let Ok(cgroup) = Cgroup::open(&datapath.cgroup) else { return Vec::new() };
    let pins = Pins::new(&datapath.pins);
    let found: Vec<_> = HOOKS.iter().map(|hook| (hook.name, find(&pins, hook, &cgroup))).collect();
    let mut checks = judge(&found, expected, datapath);
    if let Ok(others) = pins.other_layouts()
        && !others.is_empty()
    {
        let paths = others.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        checks.push(Check::ok(
            "former-layouts",
            format!("{paths}: an agent of another version left them for its open connections"),
        ));
    }
    checks
}

fn find(pins: &Pins, hook: &Hook, cgroup: &Cgroup) -> Found {
    let attached = match attached(pins, hook) {
        Ok(Some(attached)) => attached,
        Ok(None) => return Found::Absent,
        Err(error) => return Found::Wrong(format!("{:#}", anyhow::Error::from(error))),
    };
    if attached.attach_type != hook.attach_type as u32 {
        return Found::Wrong(format!(
            "it is attached with type {}, not {}",
            attached.attach_type, hook.attach_type as u32
        ));
    }
    if attached.cgroup != cgroup.id() {
        return Found::Wrong(match attached.cgroup {
            0 => "its cgroup is gone".to_owned(),
            other => format!(
                "it is attached to the cgroup with id {other}, not to {} ({})",
                cgroup.path().display(),
                cgroup.id()
            ),
        });
    }
    match bpf::effective_programs(cgroup.as_fd(), hook.attach_type as u32) {
        Ok(programs) if programs.contains(&attached.program) => Found::InForce { others: programs.len() - 1 },
        Ok(_) => Found::Wrong("the kernel does not run it for this cgroup".to_owned()),
        Err(error) => Found::Wrong(format!("the kernel does not say what it runs: {error}")),
    }
}

fn judge(found: &[(&str, Found)], expected: bool, datapath: &DatapathConfig) -> Vec<Check> {
    const NAME: &str = "programs";
    let (cgroup, pins) = (datapath.cgroup.display(), datapath.pins.display());
    if found.iter().all(|(_, found)| *found == Found::Absent) {
        let message = format!("no data path is pinned in {pins}");
        return vec![if expected {
            Check::failed(NAME, message, "name the --pins of the agent that answers, or start it anew")
        } else {
            Check::warning(NAME, message, "start an agent; it loads and attaches them")
        }];
    }
    let wrong: Vec<_> = found
        .iter()
        .filter_map(|(hook, found)| match found {
            Found::InForce { .. } => None,
            Found::Absent => Some(format!("{hook}: it is not pinned")),
            Found::Wrong(why) => Some(format!("{hook}: {why}")),
        })
        .collect();
    let mut checks = vec![if wrong.is_empty() {
        Check::ok(NAME, format!("all {} are attached to {cgroup} and run by the kernel", found.len()))
    } else {
        Check::failed(
            NAME,
            wrong.join("; "),
            "start the agent anew: it attaches what is missing; if it refuses, mesh unload first",
        )
    }];
    let shared = found.iter().filter_map(|(hook, found)| match found {
        Found::InForce { others: others @ 1.. } => Some(format!("{hook} ({others})")),
        _ => None,
    });
    let shared: Vec<_> = shared.collect();
    if !shared.is_empty() {
        checks.push(Check::warning(
            "other-programs",
            format!("others' programs run at the same hooks: {}", shared.join(", ")),
            "if connections go astray, see whose they are: bpftool cgroup tree",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn verdicts(found: &[(&str, Found)], expected: bool) -> Vec<(Verdict, String)> {
        let datapath = DatapathConfig { cgroup: "/c".into(), pins: "/p".into() };
        judge(found, expected, &datapath).into_iter().map(|check| (check.verdict, check.message)).collect()
    }

    const IN_FORCE: Found = Found::InForce { others: 0 };

    #[test]
    fn nothing_pinned_is_a_failure_only_when_an_agent_says_that_it_serves() {
        let found = [("connect4", Found::Absent), ("connect6", Found::Absent)];
        assert_eq!(verdicts(&found, false)[0].0, Verdict::Warning);
        assert_eq!(verdicts(&found, true)[0].0, Verdict::Failed);
    }

    #[test]
    fn one_missing_program_is_named() {
        let found = [("connect4", IN_FORCE), ("connect6", Found::Absent), ("sock_ops", Found::Wrong("why".into()))];
        let expected = "connect6: it is not pinned; sock_ops: why".to_owned();
        assert_eq!(verdicts(&found, false), [(Verdict::Failed, expected)]);
    }

    #[test]
    fn others_programs_are_told() {
        let found = [("connect4", Found::InForce { others: 2 }), ("connect6", IN_FORCE)];
        let checks = verdicts(&found, true);
        assert_eq!(checks[0].0, Verdict::Ok);
        assert_eq!(checks[1], (Verdict::Warning, "others' programs run at the same hooks: connect4 (2)".to_owned()));
    }
}
