//! The page docs/conformance.md: both answers to each case, side by side.

use super::{Case, Difference};
use std::fmt::Write;

/// What was seen of all cases, in their order.
#[derive(Debug)]
pub struct Seen {
    /// With kube-proxy.
    pub kube_proxy: Vec<String>,
    /// With mesh.
    pub mesh: Vec<String>,
}

/// What is wrong with the answers: a difference without a reason, or a reason without a difference.
pub fn unexplained(cases: &[Case], seen: &Seen) -> Vec<String> {
    let wrong = |(case, theirs, ours): (&Case, &str, &str)| {
        let (number, name) = (case.number, case.name);
        match (theirs == ours, case.difference) {
            (false, None) => Some(format!("{number}: {name}: kube-proxy: {theirs}; mesh: {ours}")),
            (true, Some(_)) => {
                Some(format!("{number}: {name}: both {ours}: the difference is explained, but not there"))
            }
            _ => None,
        }
    };
    rows(cases, seen).filter_map(wrong).collect()
}

/// The page.
pub fn write(cases: &[Case], seen: &Seen) -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(
        "\n| # | What a client may rely on | What the clients do | kube-proxy | mesh |\n|---|---|---|---|---|\n",
    );
    for (case, theirs, ours) in rows(cases, seen) {
        let mark = if case.difference.is_some() { "**" } else { "" };
        let Case { number, name, does, .. } = case;
        line(&mut page, format_args!("| {number} | {name} | {does} | {theirs} | {mark}{ours}{mark} |"));
    }
    let same = rows(cases, seen).filter(|(_, theirs, ours)| theirs == ours).count();
    line(&mut page, format_args!("\n{same} of {} answers are the same.", cases.len()));
    page.push_str("\n## Where mesh's answer is another, and better\n\n");
    for case in cases {
        if let Some(Difference::Better(reason)) = case.difference {
            line(&mut page, format_args!("- {}, {}: {reason}", case.number, case.name));
        }
    }
    page.push_str("\n## What mesh does not serve yet\n\n");
    for case in cases {
        if let Some(Difference::NotYet(instead)) = case.difference {
            line(&mut page, format_args!("- {}, {}: {instead}", case.number, case.name));
        }
    }
    page.push_str(OUTSIDE);
    page
}

fn rows<'a>(cases: &'a [Case], seen: &'a Seen) -> impl Iterator<Item = (&'a Case, &'a str, &'a str)> {
    let answers = seen.kube_proxy.iter().zip(&seen.mesh);
    cases.iter().zip(answers).map(|(case, (theirs, ours))| (case, theirs.as_str(), ours.as_str()))
}

fn line(page: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    writeln!(page, "{words}").ok();
}

const INTRODUCTION: &str = "\
# Conformance

The same client programs, in the same pods of a real two-node cluster, under kube-proxy (nftables mode) and then with mesh in
its place. This page is written by the test that compares the two, `tests/tests/conformance.rs`, and the test fails when what
it sees is not what stands here; a difference without a reason fails it, too. After a change that is meant:
`UPDATE_CONFORMANCE=1 cargo test -p mesh-tests --test conformance`.

The pods `near-*`, `client-1`, `client-2` and `host-1` are on one node, `far-*`, `client-3` and `host-2` on the other; `host-*`
have the node's network. `silence` is no answer and no error for as long as a client program waits. Semicolons separate what
was seen after each step.
";

const OUTSIDE: &str = "\
- 5, 6, 12, 15, 16 for clients outside the cluster: NodePorts, load balancers' addresses and external IPs need the packet path.
- 24, SCTP: `mesh status` and a condition name the Services that ask for it.
- 27, sandboxes whose sockets the node does not see (Kata, gVisor, KubeVirt): their packets are not translated.
- 30, mounts by a ClusterIP (NFS, SMB, Ceph): the first connection is made by `mount` or by the kernel for it, the later ones by \
threads of the kernel, which are in no pod's cgroup and which the hooks do not see. Mount by an address that is no Service's, as \
a headless Service's name.

## What owners of Services choose, which kube-proxy has no answer to

- 31, the annotation `mesh.dev/drain` and `drain` of a policy: connections to a removed endpoint are kept, ended, or ended after a \
grace time (`tests/tests/semantics/owner.rs`).
- 32, the label `mesh.dev/data-plane` on pods and namespaces (`tests/tests/semantics/left_alone.rs`, and above).
- 33, what is not served is said in `mesh status`, in the log, and on the object (`tests/tests/report.rs`).
";
