//! The evening's second act: a limit is watched before it bites, and then holds against a surge.

use super::policy::{own_policy, ungoverned, withdraw};
use crate::hold::Hold;
use crate::lab::Lab;
use crate::promises::same;
use anyhow::{Context, Result, ensure};
use mesh_tests::object::{Object, ObjectName};
use serde_json::{Value, json};
use std::io::ErrorKind;

/// The limit on connections of each client that is tried out.
const EACH: usize = 4;
/// Connections that one client opens: half of them too many.
const SURGE: usize = 2 * EACH;

pub fn play(lab: &mut Lab) -> Result<()> {
    let Some((frontend, _)) = ungoverned(lab) else {
        return Ok(());
    };
    let service = frontend.service.clone();
    let label = format!("{}/{}", service.namespace, service.name);
    lab.screen.act(&format!("A surge at {label}: a limit is watched first, then in force"));
    lab.traffic.visit(lab.visited_without(&service));
    let policy = limit(&service, "Observe")?;
    lab.plane.apply(std::slice::from_ref(&policy))?;
    wait_mode(lab, &service, true)?;

    let surge = |lab: &Lab, client: usize| -> Vec<_> {
        (0..SURGE).map(|_| Hold::open(&lab.clients[client], &frontend)).collect()
    };
    let before = would_refuse(lab, &service)?;
    let open: Vec<_> = surge(lab, 0);
    let refused = open.iter().filter(|outcome| outcome.is_err()).count();
    lab.note(&format!("observed: of {SURGE} connections of one client none is refused"), same(&refused, &0));
    let counted = would_refuse(lab, &service)? - before;
    let beyond = (SURGE - EACH) as u64;
    lab.note(&format!("and {beyond} are counted that a limit of {EACH} would have refused"), same(&counted, &beyond));

    lab.plane.apply(std::slice::from_ref(&limit(&service, "Enforce")?))?;
    wait_mode(lab, &service, false)?;
    let still = open.iter().flatten().try_for_each(|hold| hold.server().map(drop));
    lab.note("in force: connections that are open go on, though they are too many", still);
    let kind = |outcome: &std::io::Result<_>| outcome.as_ref().map(|_| ()).map_err(std::io::Error::kind);
    let another = Hold::open(&lab.clients[0], &frontend);
    lab.note("one more of that client is refused", same(&kind(&another), &Err(ErrorKind::ConnectionRefused)));
    let neighbour = Hold::open(&lab.clients[1], &frontend);
    lab.note("another client is not", same(&kind(&neighbour), &Ok(())));
    drop(open);
    let exact = lab.watch("room for the client again", |lab| {
        let open = surge(lab, 0);
        let fitting = open.iter().filter(|outcome| outcome.is_ok()).count();
        ensure!(fitting == EACH, "{fitting} of {SURGE} connections");
        Ok(())
    });
    lab.note(&format!("of {SURGE} new ones exactly {EACH} fit"), exact);
    withdraw(lab, &frontend, &policy.name)?;
    lab.traffic.visit(lab.visited());
    Ok(())
}

fn limit(service: &ObjectName, mode: &str) -> Result<Object> {
    own_policy("surge", service, json!({"limits": {"maxConnectionsPerClient": EACH, "mode": mode}}))
}

fn wait_mode(lab: &mut Lab, service: &ObjectName, observed: bool) -> Result<()> {
    lab.watch("the limit to be in force", |lab| {
        let shown = show(lab, service)?;
        ensure!(shown["maxConnectionsPerClient"] == EACH, "it is {}", shown["maxConnectionsPerClient"]);
        ensure!(shown["observe"].as_bool().unwrap_or_default() == observed, "observe is {}", shown["observe"]);
        Ok(())
    })
}

/// What the limits would have refused.
fn would_refuse(lab: &Lab, service: &ObjectName) -> Result<u64> {
    let shown = show(lab, service)?;
    Ok(shown["reasons"]["observed-client-limit"].as_u64().unwrap_or_default())
}

fn show(lab: &Lab, service: &ObjectName) -> Result<Value> {
    let name = format!("{}/{}", service.namespace, service.name);
    lab.world.agent().ask(&["service", "show", &name]).context("ask for the Service")
}
