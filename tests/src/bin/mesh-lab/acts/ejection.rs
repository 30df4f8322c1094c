//! The evening's last act: a backend goes bad, is ejected, and comes back.

use super::canary::count;
use super::change::pods;
use super::policy::{is_governed, own_policy, ungoverned, withdraw};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Transport;
use mesh_tests::object::{Object, ObjectName};
use serde_json::json;

/// Failures in a row that eject a backend.
const FAILURES: u32 = 3;
/// How long it is out, in seconds.
const OUT: u32 = 3;

pub fn play(lab: &mut Lab) -> Result<()> {
    let tcp = ungoverned(lab).filter(|(frontend, _)| frontend.transport == Transport::Tcp);
    // At most half of them may be out at once.
    let Some((frontend, workload)) = tcp.filter(|(_, workload)| pods(lab, workload).len() > 1) else {
        return Ok(());
    };
    let service = frontend.service.clone();
    let label = format!("{}/{}", service.namespace, service.name);
    let bad = pods(lab, &workload).pop().context("a pod to go bad")?;
    lab.screen.act(&format!("{bad} of {label} goes bad, and comes back"));
    lab.traffic.visit(lab.visited_without(&service));
    let policy = detection(&service)?;
    lab.plane.apply(std::slice::from_ref(&policy))?;
    lab.watch("the detection of outliers to be in force", |lab| {
        ensure!(is_governed(lab, &frontend), "no policy is");
        Ok(())
    })?;

    lab.screen.say("  its program dies; no probe has noticed, and its endpoint says ready");
    lab.plane.crash(&bad)?;
    let ejected = lab.watch(&format!("{bad} to be ejected"), |lab| {
        let failed = count(lab, &frontend)?.failed();
        ensure!(failed > 0, "nothing failed");
        ensure!(failed % FAILURES == 0, "{failed} connections failed");
        let shown =
            lab.figures()?.backends.iter().find(|backend| backend.pod == bad).map(|backend| backend.state.clone());
        ensure!(shown.as_deref() == Some("ejected"), "it is {shown:?}");
        Ok(())
    });
    lab.note(&format!("{FAILURES} connections in a row are refused by it, and then it takes no more"), ejected);
    lab.plane.recover(&bad)?;
    let back = lab.watch(&format!("{bad} to be back"), |lab| {
        let tally = count(lab, &frontend)?;
        ensure!(tally.failed() == 0 && tally.answers.contains_key(&bad), "{tally:?}");
        Ok(())
    });
    lab.note("it serves again, and is back by itself when its time is over", back);
    withdraw(lab, &frontend, &policy.name)?;
    lab.traffic.visit(lab.visited());
    lab.show()
}

fn detection(service: &ObjectName) -> Result<Object> {
    let detection = json!({"consecutiveFailures": FAILURES, "baseEjectionSeconds": OUT, "maxEjectionSeconds": OUT});
    own_policy("ejection", service, json!({"outlierDetection": detection}))
}
