//! Act two: a backend goes, and another comes.

use crate::hold::Hold;
use crate::lab::Lab;
use crate::promises::same;
use anyhow::{Context, Result, ensure};
use mesh_tests::control_plane::{Frontend, PodState};
use mesh_tests::object::ObjectName;

pub fn play(lab: &mut Lab) -> Result<()> {
    let Some((frontend, workload)) = choose(lab) else {
        lab.screen.act("A backend goes, one comes");
        lab.screen.say("  not shown: no Service has pods here that another could replace");
        return Ok(());
    };
    let service = format!("{}/{}", frontend.service.namespace, frontend.service.name);
    lab.screen.act(&format!("A backend of {service} goes, one comes"));
    lab.traffic.forget();
    if pods(lab, &workload).len() < 2 {
        lab.screen.say(&format!("  {workload} has one pod; it gets a second one first"));
        lab.plane.scale(&workload, 2)?;
        let second = pods(lab, &workload).pop().context("the second pod")?;
        wait_reached(lab, &service, &second)?;
    }
    let leaving = pods(lab, &workload).remove(0);
    let held = hold_to(lab, &frontend, &leaving)?;

    lab.screen
        .say(&format!("  {leaving} is asked to end: its endpoint is terminating, and a connection to it is open"));
    lab.plane.set_state(&leaving, PodState::Terminating)?;
    lab.watch(&format!("{leaving} to take no new connections"), |lab| {
        let seen = lab.figures()?.backends.iter().find(|b| b.pod == leaving && b.state == "eligible").cloned();
        ensure!(seen.is_none(), "{seen:?}");
        Ok(())
    })?;
    // A visit that chose the old backend a moment ago is over once there was silence.
    let before = {
        let _silence = lab.traffic.pause();
        lab.traffic.all().answers(&service, &leaving)
    };
    lab.watch_visits(30)?;
    let since = lab.traffic.all().answers(&service, &leaving) - before;
    lab.note(&format!("no new connection goes to {leaving}"), same(&since, &0));
    lab.note(
        "the connection that was open goes on",
        held.server().map_err(|e| e.to_string()).and_then(|s| same(&s, &leaving)),
    );
    drop(held);
    lab.plane.end(&leaving)?;
    lab.screen.say(&format!("  {leaving} has ended; another pod is started in its place"));
    lab.plane.reconcile()?;
    let coming = pods(lab, &workload).pop().context("the new pod")?;
    let reached = wait_reached(lab, &service, &coming);
    lab.note(&format!("{coming} takes connections"), reached);
    let visits = lab.traffic.recent();
    lab.note(&format!("{} connections meanwhile, and none failed", visits.answered()), visits.none_failed());
    lab.show()
}

/// The visited frontend with the most pods of one workload behind it that can have more of them or fewer: not a Pod by
/// itself, not what runs once on a node, not what holds the node's own ports.
pub fn choose(lab: &Lab) -> Option<(Frontend, ObjectName)> {
    let candidates = lab.visited().into_iter().filter_map(|frontend| {
        let service = lab.plane.services().find(|service| service.object.name == frontend.service)?;
        let replica = lab.plane.pods_of(service).next()?;
        let workload = lab.plane.workloads().find(|workload| workload.name == replica.workload)?;
        let scales = !["DaemonSet", "Pod"].contains(&workload.name.kind.as_str()) && !workload.host_network;
        scales.then(|| (pods(lab, &workload.name).len(), frontend, workload.name.clone()))
    });
    candidates.max_by_key(|(count, ..)| *count).map(|(_, frontend, workload)| (frontend, workload))
}

/// A workload's pods, the oldest first.
pub fn pods(lab: &Lab, workload: &ObjectName) -> Vec<String> {
    lab.plane.pods().iter().filter(|r| r.workload == *workload).map(|r| r.name().to_owned()).collect()
}

/// Waits until the traffic has reached a pod through a Service.
pub fn wait_reached(lab: &mut Lab, service: &str, pod: &str) -> Result<()> {
    lab.watch(&format!("{pod} to be reached through {service}"), |lab| {
        ensure!(lab.traffic.all().answers(service, pod) > 0, "it was not");
        Ok(())
    })
}

/// Connects until it is that pod that answers.
fn hold_to(lab: &mut Lab, frontend: &Frontend, pod: &str) -> Result<Hold> {
    lab.watch(&format!("a connection to {pod}"), |lab| {
        let hold = Hold::open(&lab.clients[0], frontend)?;
        let server = hold.server()?;
        ensure!(server == pod, "{server} answered");
        Ok(hold)
    })
}
