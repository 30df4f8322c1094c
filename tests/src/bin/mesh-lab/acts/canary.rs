//! The evening's first act: a canary's share is moved while traffic runs.

use super::change::pods;
use super::policy::{own_policy, ungoverned, withdraw};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use mesh_tests::client::Tally;
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use mesh_tests::object::{Object, ObjectName};
use serde_json::json;
use std::collections::BTreeMap;

/// The canary's share as it is moved, in per cent. The last one takes it back.
const SHARES: [u32; 4] = [10, 50, 100, 0];
/// Connections that are counted at each share: whole laps of the turns that are taken.
const COUNTED: u32 = 100;

pub fn play(lab: &mut Lab) -> Result<()> {
    let Some((frontend, workload)) = ungoverned(lab) else {
        lab.screen.act("A canary's share is moved");
        lab.screen.say("  not shown: no Service without a policy has pods to choose from");
        return Ok(());
    };
    let service = frontend.service.clone();
    let canary = pods(lab, &workload).pop().context("a pod to be the canary")?;
    lab.screen.act(&format!("{canary} is a canary of {}/{}", service.namespace, service.name));
    lab.traffic.visit(lab.visited_without(&service));
    let mut policy = None;
    for percent in SHARES {
        let split = split(&service, &canary, percent)?;
        lab.plane.apply(std::slice::from_ref(&split))?;
        policy = Some(split.name);
        let moved = lab.watch(&format!("the canary to take {percent} per cent"), |lab| {
            let answers = answers(lab, &frontend)?;
            let seen = answers.get(&canary).copied().unwrap_or_default();
            ensure!(u64::from(seen) * 100 == u64::from(percent) * u64::from(COUNTED), "{answers:?}");
            Ok(())
        });
        lab.note(
            &format!(
                "its share is {percent} per cent: exactly so many of {COUNTED} connections reach it, and none fails"
            ),
            moved,
        );
    }
    if let Some(policy) = policy {
        withdraw(lab, &frontend, &policy)?;
    }
    let back = lab.watch("every pod to be chosen again", |lab| {
        let answers = answers(lab, &frontend)?;
        let expected = pods(lab, &workload).len();
        ensure!(answers.len() == expected, "{answers:?}");
        Ok(())
    });
    lab.note("without the policy every pod takes its share again", back);
    lab.traffic.visit(lab.visited());
    Ok(())
}

/// The canary's part, and the rest: the first part that matches holds.
fn split(service: &ObjectName, canary: &str, percent: u32) -> Result<Object> {
    let split = json!([
        {"podNamePrefix": canary, "percent": percent},
        {"podNamePrefix": service_pods(canary), "percent": 100 - percent},
    ]);
    own_policy("canary", service, json!({"loadBalancer": {"algorithm": "RoundRobin", "split": split}}))
}

/// How the names of all pods of the canary's workload begin.
fn service_pods(canary: &str) -> &str {
    canary.rsplit_once('-').map_or(canary, |(workload, _)| workload)
}

/// Who answered how often; none may fail.
fn answers(lab: &Lab, frontend: &Frontend) -> Result<BTreeMap<String, u32>> {
    let tally = count(lab, frontend)?;
    ensure!(tally.errors.is_empty(), "{:?}", tally.errors);
    Ok(tally.answers)
}

/// Connects so many times, one after the other.
pub fn count(lab: &Lab, frontend: &Frontend) -> Result<Tally> {
    let client = &lab.clients[0];
    Ok(match frontend.transport {
        Transport::Tcp => client.tally(frontend.address, COUNTED)?,
        Transport::Udp => client.tally_udp(frontend.address, COUNTED)?,
    })
}
