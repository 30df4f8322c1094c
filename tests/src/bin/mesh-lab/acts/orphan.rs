//! The last two acts: the agent is killed and traffic goes on; it returns and adopts what is there.

use super::change::{choose, pods, wait_reached};
use crate::figures::{Figures, connections};
use crate::hold::Hold;
use crate::lab::Lab;
use crate::promises::same;
use crate::traffic::Visits;
use anyhow::{Context, Result, ensure};
use mesh_tests::control_plane::Frontend;
use mesh_tests::object::ObjectName;
use std::collections::BTreeMap;
use std::io;

pub fn play(lab: &mut Lab) -> Result<()> {
    lab.screen.act("The agent is killed; traffic goes on");
    let agent = lab.world.agent();
    let open = |frontend| Hold::open(&lab.clients[0], frontend);
    let held = lab.visited().iter().map(open).collect::<io::Result<Vec<_>>>().context("open connections to hold")?;
    let answered = servers(&held).context("ask the connections that are held")?;
    // For the table: the agent's last words.
    lab.figures()?;
    let (before, sockets) = {
        let _silence = lab.traffic.pause();
        lab.traffic.forget();
        let seen = (Figures::ask(agent)?, connections(agent)?);
        agent.kill()?;
        seen
    };
    lab.screen.say("  SIGKILL; nobody looks after the maps now");
    lab.watch_visits(40)?;
    let alone = lab.traffic.recent();
    lab.note(&format!("{} new connections without an agent, and none failed", alone.answered()), alone.none_failed());
    let still = servers(&held).map_err(|error| error.to_string()).and_then(|still| same(&still, &answered));
    lab.note(&format!("the {} connections that were open still answer, each from its backend", held.len()), still);
    lab.show()?;

    lab.screen.act("The agent returns, and adopts what it finds");
    agent.start()?;
    lab.screen.say(&format!("  it runs as process {}", agent.id()?));
    let (after, sockets_after, all) = {
        let _silence = lab.traffic.pause();
        (Figures::ask(agent)?, connections(agent)?, lab.traffic.recent())
    };
    let while_it_started = all.answered() - alone.answered();
    lab.note(&format!("{while_it_started} connections while it started, and none failed"), all.none_failed());
    let counted = before.active();
    let sum: u64 = counted.values().sum();
    lab.note(&format!("the same {sum} connections are counted, backend by backend"), same(&after.active(), &counted));
    lab.note(&format!("they are the same {} sockets, by their cookies", sockets.len()), same(&sockets_after, &sockets));
    let grown = opened_since(&before, &after);
    lab.note("what was opened without it is counted to the last connection", same(&grown, &by_service(&all)));
    if let Some((frontend, workload)) = choose(lab) {
        let served = served_again(lab, &frontend, &workload);
        lab.note("what the manifests say next is served: one pod more is reached", served);
    }
    drop(held);
    lab.traffic.visit(Vec::new());
    let empty = lab.watch("nothing to be open", |lab| {
        let active = lab.figures()?.active();
        ensure!(active.is_empty(), "{active:?}");
        Ok(())
    });
    lab.note("when every connection is closed, none is counted", empty);
    lab.traffic.visit(lab.visited());
    lab.show()
}

fn servers(held: &[Hold]) -> io::Result<Vec<String>> {
    held.iter().map(Hold::server).collect()
}

/// How many connections the kernel has admitted between two looks, by Service.
fn opened_since(before: &Figures, after: &Figures) -> BTreeMap<String, u64> {
    let earlier: BTreeMap<_, _> = before.services.iter().map(|service| (service.label(), service.opened)).collect();
    let grown = |label: &str, opened: u64| opened.saturating_sub(earlier.get(label).copied().unwrap_or_default());
    let services = after.services.iter().map(|service| (service.label(), grown(&service.label(), service.opened)));
    services.filter(|(_, opened)| *opened > 0).collect()
}

/// How many connections the clients have made, by Service.
fn by_service(visits: &Visits) -> BTreeMap<String, u64> {
    let mut services = BTreeMap::new();
    for ((service, ..), times) in &visits.reached {
        *services.entry(service.clone()).or_default() += times;
    }
    services
}

fn served_again(lab: &mut Lab, frontend: &Frontend, workload: &ObjectName) -> Result<()> {
    let now = pods(lab, workload).len();
    lab.plane.scale(workload, now + 1)?;
    let youngest = pods(lab, workload).pop().context("the new pod")?;
    wait_reached(lab, &format!("{}/{}", frontend.service.namespace, frontend.service.name), &youngest)
}
