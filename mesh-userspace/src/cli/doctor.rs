//! `mesh doctor`: whether this machine can run mesh, and whether what runs is in force.

use super::arguments::{DatapathArguments, SocketArguments};
use super::exit::Exit;
use super::output::{Format, print};
use super::table::Tone;
use crate::doctor::{self, Check, Verdict};
use std::fmt::Write as _;

/// Examine this machine and the data path: kernel, cgroup2, bpffs, capabilities, programs; and prove coverage by a real
/// connection from inside the cgroup.
///
/// The connection is made by a child process in a network namespace of its own: nothing leaves it. Each failure comes
/// with what to do about it. Exits with 5 when something failed; warnings alone exit with 0.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    datapath: DatapathArguments,
    #[command(flatten)]
    socket: SocketArguments,
    /// How to print.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
Examples:
  Before the first start, and whenever something is odd:
    mesh doctor
  For an agent that serves one cgroup:
    mesh doctor --cgroup /sys/fs/cgroup/shop --pins /sys/fs/bpf/shop --socket /run/shop.sock
  What failed, for programs:
    mesh doctor -o json | jq '.[] | select(.verdict == \"failed\")'";

impl Arguments {
    /// Examines and prints each check as soon as it is known.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.socket.client();
        let datapath = self.datapath.config()?;
        let people = self.output.is_for_people();
        let mut checks = Vec::new();
        let mut printed = Ok(());
        doctor::examine(&datapath, &client, |check| {
            if people && printed.is_ok() {
                printed = print(&line(&check));
            }
            checks.push(check);
        })
        .await;
        printed?;
        if people {
            print(&summary(&checks))?;
        } else {
            self.output.document(&checks)?;
        }
        Ok(if checks.iter().any(|check| check.verdict == Verdict::Failed) { Exit::Attention } else { Exit::Ok })
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Ok => Tone::Good,
        Verdict::Warning => Tone::Warning,
        Verdict::Failed => Tone::Bad,
    }
}

/// A check for people; what to do about it in the line below.
fn line(check: &Check) -> String {
    let verdict = format!("{:<9}", check.verdict.name());
    let mut text = format!("{}{:<16}{}\n", tone(check.verdict).paint(&verdict), check.check, check.message);
    if !check.action.is_empty() {
        let _ = writeln!(text, "{:25}-> {}", "", check.action);
    }
    text
}

fn summary(checks: &[Check]) -> String {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let counts = [Verdict::Ok, Verdict::Warning, Verdict::Failed].map(|v| format!("{} {}", count(v), v.name()));
    format!("\n{}\n", counts.join(", "))
}
