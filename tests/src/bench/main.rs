//! `cargo xtask bench`: what the mesh costs on this machine, against the targets, as `docs/performance.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`connect`] | connect() to a Service against connect() to the pod |
//! | [`programs`] | what each program takes, by the kernel's own statistics |
//! | [`traffic`] | what limits and algorithms add to the connect program |
//! | [`packets`] | what a packet costs at the interface of a pod with a limit |
//! | [`crowd`] | many threads on one hot Service |
//! | [`established`] | round trips and throughput of connections that are open |
//! | [`fill`] | from desired Services in memory to filled maps |
//! | [`memory`] | the agent's start and its memory |
//! | [`change`] | from a file's change to its effect on connect() |
//! | [`parameter`] | the same of a policy's file, for each kind of parameter |
//! | [`tail`] | requests with one slow backend of five, with and without ejection |
//! | [`kubernetes`] | `--kubernetes`: fed by a real API server, beside kube-proxy, as `docs/performance-kubernetes.md` |
//!
//! The rest serves these: [`bed`] (pods, and programs in force), [`mesh`], [`services`], [`manifests`], [`inside`] (a
//! process in the client's pod), [`ears`], [`statistics`], [`empty`], [`priority`]; [`spread`],
//! [`report`], [`picture`], [`machine`].

mod bed;
mod change;
mod connect;
mod crowd;
mod ears;
mod empty;
mod established;
mod fill;
mod inside;
mod interrupt;
mod kubernetes;
mod machine;
mod manifests;
mod memory;
mod mesh;
mod packets;
mod parameter;
mod picture;
mod priority;
mod programs;
mod report;
mod services;
mod spread;
mod statistics;
mod tail;
mod traffic;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use machine::Machine;
use report::{Page, Report, Section};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures what the mesh costs: everything interleaved in one run, ratios with their spread.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", version)]
struct Arguments {
    /// Fed by a real API server, beside kube-proxy (`cargo xtask components` builds both; package nftables).
    #[arg(long)]
    kubernetes: bool,
    /// Small sizes and few rounds: whether it works, not how fast it is. Writes no file unless --output names one.
    #[arg(long)]
    quick: bool,
    /// Only this measurement; may be repeated. With --kubernetes: connect, change. Writes no file unless --output names one.
    #[arg(long, value_name = "NAME")]
    only: Vec<Measurement>,
    /// Where the report goes [default: docs/performance.md, or docs/performance-kubernetes.md, in the repository].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exit with 0 although a target is missed.
    #[arg(long)]
    no_gate: bool,
    /// What a process inside the client's pod is to measure, as JSON.
    #[arg(long, hide = true)]
    inside: Option<String>,
}

/// A measurement, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Measurement {
    /// connect() to a Service against connect() to the pod.
    Connect,
    /// Mean ns of each program from the kernel's statistics.
    Programs,
    /// What limits and algorithms add to the connect program.
    Traffic,
    /// What a packet costs at the interface of a pod with a limit.
    Packets,
    /// Many threads on one hot Service.
    Crowd,
    /// Round trips and throughput of established connections.
    Established,
    /// From desired Services in memory to filled maps.
    Fill,
    /// The agent's start and memory.
    Memory,
    /// From a file's change to its effect.
    Change,
    /// From a change of a policy's file to its effect.
    Parameter,
    /// Requests with one slow backend of five.
    Tail,
}

impl Measurement {
    fn run(self, effort: Effort) -> Result<Section> {
        match self {
            Self::Connect => connect::measure(effort),
            Self::Programs => programs::measure(effort),
            Self::Traffic => traffic::measure(effort),
            Self::Packets => packets::measure(effort),
            Self::Crowd => crowd::measure(effort),
            Self::Established => established::measure(effort),
            Self::Fill => fill::measure(effort),
            Self::Memory => memory::measure(effort),
            Self::Change => change::measure(effort),
            Self::Parameter => parameter::measure(effort),
            Self::Tail => tail::measure(effort),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effort {
    /// Small sizes: does it work.
    Quick,
    /// The sizes of the targets.
    Full,
}

impl Effort {
    /// The first when quick, the second when full.
    fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(job) = &arguments.inside {
        return inside::obey(job).map(|()| ExitCode::SUCCESS);
    }
    interrupt::listen()?;
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let page = if arguments.kubernetes { kubernetes::PAGE } else { PAGE };
    let mut report = Report::new(page, Machine::look()?);
    println!("{}", report.machine());
    if arguments.kubernetes {
        kubernetes::measure(&arguments.only, effort, &mut report)?;
    } else {
        measure(&arguments.only, effort, &mut report)?;
    }
    report.finish()?;
    println!("{}", report.verdict());
    let whole = arguments.only.is_empty() && effort == Effort::Full;
    let page = if arguments.kubernetes { "performance-kubernetes.md" } else { "performance.md" };
    let usual = whole.then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page));
    if let Some(file) = arguments.output.or(usual) {
        report.write(&file)?;
        println!("written to {}", file.display());
    }
    Ok(if report.is_met() || arguments.no_gate { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What stands above the figures of [`measure`].
const PAGE: Page = Page {
    title: "Performance",
    command: "cargo xtask bench",
    how: "Figures are `median (least to most)` over the rounds of one run; what is compared alternates call by call, so that \
          whatever else the machine does meets both sides. *Noisy* are figures whose rounds differ by more than a tenth. With \
          Services from a real API server, beside kube-proxy: [performance-kubernetes.md](performance-kubernetes.md).",
};

/// All measurements, or those that were asked for.
fn measure(only: &[Measurement], effort: Effort, report: &mut Report) -> Result<()> {
    for measurement in Measurement::value_variants() {
        if only.is_empty() || only.contains(measurement) {
            interrupt::check()?;
            match measurement.run(effort) {
                Ok(section) => {
                    println!("{section}");
                    report.push(section);
                }
                Err(error) => {
                    interrupt::check()?;
                    eprintln!("{measurement:?} came to nothing: {error:?}");
                    report.push_failure(&format!("{measurement:?}"), &error);
                }
            }
        }
    }
    Ok(())
}
