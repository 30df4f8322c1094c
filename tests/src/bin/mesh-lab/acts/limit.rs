//! Act three: the limit bites exactly.

use super::policy::own_policy;
use crate::figures::Figures;
use crate::hold::Hold;
use crate::lab::Lab;
use crate::promises::same;
use anyhow::{Context, Result, ensure};
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use mesh_tests::object::ObjectName;
use mesh_tests::storm::{Plan, Storm};
use serde_json::json;
use std::io::{self, ErrorKind};

/// The limit that the lab sets where the manifests set none.
const OURS: u64 = 5;
/// More than so many connections are not held open here to see whether one more is refused.
const MOST: u64 = 2000;
/// Attempts beyond the limit.
const BEYOND: usize = 3;
const RACERS: usize = 8;
/// Connections before each thing that happens to them.
const RACES: u64 = 300;

/// A Service with a limit.
struct Limited {
    frontend: Frontend,
    limit: u64,
    /// The policy that the lab made for it.
    ours: Option<ObjectName>,
}

pub fn play(lab: &mut Lab) -> Result<()> {
    let figures = lab.figures()?.clone();
    let written =
        lab.frontends().into_iter().find_map(|frontend| Some((limit_of(lab, &figures, &frontend)?, frontend)));
    let limited = match written {
        Some((limit, frontend)) => Limited { frontend, limit, ours: None },
        None => set_limit(lab)?,
    };
    let service = &limited.frontend.service;
    let (label, limit) = (format!("{}/{}", service.namespace, service.name), limited.limit);
    lab.screen.act(&format!("{label} takes {limit} connections at once, and not one more"));
    lab.traffic.visit(lab.visited_without(service));
    wait_active(lab, service, 0)?;
    let refused_before = lab.figures()?.service(service)?.refused;

    let mut held = Vec::new();
    let opened = (0..limit).try_for_each(|_| open(lab, &limited).map(|hold| held.push(hold)));
    lab.note(&format!("{limit} connections are open"), opened);
    let kind = |outcome: io::Result<Hold>| outcome.map(|_| "connected").map_err(|error| error.kind());
    let beyond: Vec<_> = (0..BEYOND).map(|_| kind(open(lab, &limited))).collect();
    let refused = vec![Err(ErrorKind::ConnectionRefused); BEYOND];
    lab.note(
        &format!("number {} is refused with ECONNREFUSED, {BEYOND} times of {BEYOND}", limit + 1),
        same(&beyond, &refused),
    );
    let figures = lab.figures()?.clone();
    let counted = figures.service(service)?;
    let seen = (counted.active, counted.refused - refused_before);
    lab.note(&format!("the agent counts {limit} open and {BEYOND} refused"), same(&seen, &(limit, BEYOND as u64)));
    if let Some(most) = counted.max_connections_per_backend {
        let over: Vec<_> = figures.backends.iter().filter(|b| b.service.label() == label && b.active > most).collect();
        lab.note(&format!("no backend has more than {most}"), same(&over.len(), &0));
    }
    if held.pop().is_some() {
        let outcomes = (open(lab, &limited).map(|hold| held.push(hold)).is_ok(), kind(open(lab, &limited)));
        lab.note("one is closed, one fits again, and no second", same(&outcomes, &(true, refused[0])));
    }
    lab.show()?;
    drop(held);
    if limit > 0 {
        race(lab, &limited)?;
    }
    let empty = wait_active(lab, service, 0);
    lab.note("all are closed, and nothing stays counted", empty);
    if let Some(policy) = limited.ours {
        lab.plane.delete(&policy)?;
        let service = limited.frontend.service;
        lab.watch("the lab's own limit to be gone", |lab| {
            ensure!(lab.figures()?.service(&service)?.max_connections.is_none(), "it is there");
            Ok(())
        })?;
    }
    lab.traffic.visit(lab.visited());
    Ok(())
}

fn open(lab: &Lab, limited: &Limited) -> io::Result<Hold> {
    Hold::open(&lab.clients[0], &limited.frontend)
}

/// How many connections a frontend takes at most, if that is a number that can be tried out.
fn limit_of(lab: &Lab, figures: &Figures, frontend: &Frontend) -> Option<u64> {
    let service = figures.service(&frontend.service).ok()?;
    let served = lab.plane.services().find(|served| served.object.name == frontend.service)?;
    let backends = lab.plane.pods_of(served).count() as u64;
    let by_backends = service.max_connections_per_backend.map(|each| each * backends);
    [service.max_connections, by_backends].into_iter().flatten().min().filter(|limit| *limit <= MOST)
}

/// A limit for an application that has none.
fn set_limit(lab: &mut Lab) -> Result<Limited> {
    let figures = lab.figures()?.clone();
    let unlimited = |frontend: &Frontend| {
        let service = figures.service(&frontend.service);
        service.is_ok_and(|s| s.max_connections.is_none() && s.max_connections_per_backend.is_none())
    };
    let frontend =
        lab.visited().into_iter().find(unlimited).context("every Service has a limit above what fits here")?;
    let service = frontend.service.clone();
    lab.screen.say("");
    lab.screen.say(&format!("No TrafficPolicy here sets a limit; the lab sets one of {OURS} on {service}."));
    let policy = own_policy("limit", &service, json!({"limits": {"maxConnections": OURS}}))?;
    lab.plane.apply(std::slice::from_ref(&policy))?;
    lab.watch("the limit to be in force", |lab| {
        let seen = lab.figures()?.service(&service)?.max_connections;
        ensure!(seen == Some(OURS), "it is {seen:?}");
        Ok(())
    })?;
    Ok(Limited { frontend, limit: OURS, ours: Some(policy.name) })
}

fn wait_active(lab: &mut Lab, service: &ObjectName, expected: u64) -> Result<()> {
    lab.watch(&format!("{service} to have {expected} open connections"), |lab| {
        let active = lab.figures()?.service(service)?.active;
        ensure!(active == expected, "it has {active}");
        Ok(())
    })
}

/// Many processes at once, two of them killed.
fn race(lab: &mut Lab, limited: &Limited) -> Result<()> {
    let limit = limited.limit;
    let mut plan = Plan::to(limited.frontend.address).hold(usize::try_from(limit)?);
    if limited.frontend.transport == Transport::Udp {
        plan = plan.udp();
    }
    let storm = Storm::start(&lab.pods[1], RACERS, &plan)?;
    for victim in 0..2 {
        storm.wait_connected(RACES)?;
        storm.kill(victim)?;
    }
    storm.wait_connected(RACES)?;
    storm.stop();
    let count = storm.finish()?;
    let exact = count.most_open <= limit && count.failed == 0;
    let (tries, most) = (count.connected + count.refused, count.most_open);
    let promise = format!("{RACERS} processes race, two are killed: of {tries} tries {most} are open at most");
    lab.note(&promise, if exact { Ok(()) } else { Err(format!("{count:?}")) });
    Ok(())
}
