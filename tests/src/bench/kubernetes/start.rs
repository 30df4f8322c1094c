//! From the start of the agent, and of kube-proxy, until everything that the API server has is in the kernel.

use super::ENDPOINTS;
use super::rig::Rig;
use crate::Effort;
use crate::report::{Limit, Section, Target};
use crate::spread::Spread;
use anyhow::{Context, Result};

/// Both in turn, so that whatever else the machine does meets both; both run in the end.
pub fn measure(rig: &Rig, effort: Effort, count: u32) -> Result<Section> {
    let mut section = Section::new(
        "From the start to the last entry",
        "Both fed by the same API server, one after the other in turn, each from nothing: no rules, no maps. mesh: from the \
         start of its process until `mesh status` says that all is in the maps and in force. kube-proxy (nftables): from the \
         start of its process until a client gets through to the last Service; it writes all in one transaction. The ratio \
         is of the two of each round.",
        &["", "Services", "endpoints", "s"],
    );
    let (mut agents, mut proxies) = (Vec::new(), Vec::new());
    for round in 0..effort.pick(1, 5) {
        if round > 0 {
            rig.clear_agent()?;
            rig.clear_proxy()?;
        }
        proxies.push(rig.start_proxy(count)?.as_secs_f64());
        agents.push(rig.start_agent(count)?.as_secs_f64());
    }
    let ratio = Spread::of(proxies.iter().zip(&agents).map(|(proxy, mesh)| proxy / mesh)).context("no round")?;
    let row = |who: &str, seconds: String| vec![who.to_owned(), count.to_string(), endpoints(count), seconds];
    section.row(row("mesh", format!("{:.2}", Spread::of(agents).context("no round")?)));
    section.row(row("kube-proxy", format!("{:.2}", Spread::of(proxies).context("no round")?)));
    section.row(row("kube-proxy / mesh", format!("{ratio:.1}")));
    let what = format!("kube-proxy's first sync over mesh's, {count} Services with {} endpoints", endpoints(count));
    section.target(Target::new(what, Limit::AtLeast(10.0), ratio.median, ""));
    Ok(section)
}

/// How many endpoints so many Services have.
pub fn endpoints(count: u32) -> String {
    (count * u32::from(ENDPOINTS)).to_string()
}
