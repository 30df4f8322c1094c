//! `cargo xtask bench --kubernetes`: fed by a real API server, beside kube-proxy, as `docs/performance-kubernetes.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`rig`] | two worlds of the same pods: one that mesh serves, one that kube-proxy serves; one API server for both |
//! | [`load`] | thousands of Services put into the API server |
//! | [`proxy`] | kube-proxy |
//! | [`start`] | from the start to the last entry |
//! | [`change`] | from a change in the API to its effect on connect() |
//! | [`rest`] | memory, and processor time when nothing happens |
//! | [`stream`] | a thousand endpoint changes a second |
//! | [`connect`] | connect() directly, by mesh, and by kube-proxy |

pub mod change;
pub mod connect;
mod load;
mod proxy;
mod rest;
mod rig;
mod start;
mod stream;

use crate::interrupt;
use crate::report::{Page, Report, Section};
use crate::{Effort, Measurement};
use anyhow::{Result, bail};
use rig::Rig;

/// What stands above the figures.
pub const PAGE: Page = Page {
    title: "Performance, fed by a real API server",
    command: "cargo xtask bench --kubernetes",
    how: "One run, one API server with its etcd, and two nodes of the same shape beside each other: mesh serves the one, \
          kube-proxy (nftables mode, its defaults) the other. All share the processors with whatever else the machine does, so \
          ratios say more than times. Figures over rounds are `median (least to most)`; *noisy* are those whose rounds differ \
          by more than a tenth. Without Kubernetes, and in more detail: [performance.md](performance.md).",
};

/// Endpoints of each Service, each with an address of its own: one in each backend's pod.
pub const ENDPOINTS: u8 = 10;

/// One measurement after the other, on one rig: what one leaves the next needs.
pub fn measure(only: &[Measurement], effort: Effort, report: &mut Report) -> Result<()> {
    let whole = only.is_empty();
    let is_wanted = |measurement| whole || only.contains(&measurement);
    if let Some(other) = only.iter().find(|one| ![Measurement::Connect, Measurement::Change].contains(one)) {
        bail!("with --kubernetes only connect and change can be measured alone, and not {other:?}");
    }
    let rig = Rig::make()?;
    let mut connects = connect::section();
    let count = effort.pick(20, 10_000);

    load::services(&rig, 1..2)?;
    if is_wanted(Measurement::Connect) {
        rig.start_both(1)?;
        step(report, "connect() with 1 Service", || connect::measure(&rig, effort, 1, &mut connects).map(|()| None))?;
        rig.clear_agent()?;
        rig.clear_proxy()?;
    }

    load::services(&rig, 2..count + 1)?;
    if whole {
        step(report, "start", || start::measure(&rig, effort, count).map(Some))?;
        step(report, "rest", || rest::measure(&rig, effort, count).map(Some))?;
    } else {
        rig.start_both(count)?;
    }
    if is_wanted(Measurement::Connect) {
        step(report, "connect()", || connect::measure(&rig, effort, count, &mut connects).map(|()| None))?;
        report_section(report, connects);
    }
    if is_wanted(Measurement::Change) {
        step(report, "change", || change::measure(&rig, effort, count).map(Some))?;
    }
    if !whole {
        return Ok(());
    }
    step(report, "stream", || stream::measure(&rig, effort, count).map(Some))
}

fn step(report: &mut Report, name: &str, work: impl FnOnce() -> Result<Option<Section>>) -> Result<()> {
    interrupt::check()?;
    match work() {
        Ok(section) => section.into_iter().for_each(|section| report_section(report, section)),
        Err(error) => {
            interrupt::check()?;
            eprintln!("{name} came to nothing: {error:?}");
            report.push_failure(name, &error);
        }
    }
    Ok(())
}

fn report_section(report: &mut Report, section: Section) {
    println!("{section}");
    report.push(section);
}
