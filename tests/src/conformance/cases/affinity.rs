//! Session affinity: 7.

use super::endpoints::of;
use crate::client::Client;
use crate::conformance::look;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{service, slice};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

const ALL: [&str; 4] = ["near-1", "near-2", "far-1", "far-2"];
/// Ports of the Service whose affinity ends: so many choices of their own that they do not all fall alike by chance.
const PORTS: u16 = 8;
/// The affinity's time there, and pauses within and beyond it.
const TIMEOUT: Duration = Duration::from_secs(6);
const WITHIN: Duration = Duration::from_secs(2);
const BEYOND: Duration = Duration::from_secs(9);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            7,
            "`sessionAffinity: ClientIP`: a client stays with one endpoint",
            "`client-1` connects 40 times; `client-3` does; `host-1` does; `client-1` with UDP",
            |bed| {
                let service = service("sticky").tcp(80, 8080).udp(53, 8080).spec("sessionAffinity", "ClientIP");
                vec![service.value(), bed.ready(slice("sticky").tcp(8080).udp(8080), &ALL).value()]
            },
            |bed| {
                let mut seen = Vec::new();
                for pod in ["client-1", "client-3", "host-1"] {
                    seen.push(how_many(&*bed.client(pod)?, Transport::Tcp, bed.service("sticky", 80)?)?);
                }
                seen.push(how_many(&*bed.client("client-1")?, Transport::Udp, bed.service("sticky", 53)?)?);
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            7,
            "another endpoint beside it changes nothing; when its own goes, the client stays with another",
            "`client-1` connects 40 times; an endpoint comes; the first goes",
            |bed| sticky("sticky-moved", bed, &["near-1"]),
            moved,
        ),
        Case::new(
            7,
            "affinity is per port, is refreshed by each connection, and ends when the client is idle",
            "`client-1` connects to 8 ports again and again within the time; after a longer pause",
            |bed| {
                let timeout = json!({"clientIP": {"timeoutSeconds": TIMEOUT.as_secs()}});
                let ports = (0..PORTS).map(|n| json!({"name": format!("p{n}"), "port": 80 + n, "targetPort": 8080}));
                let ports = Value::Array(ports.collect());
                let service = service("sticky-idle").spec("ports", ports);
                let service = service.spec("sessionAffinity", "ClientIP").spec("sessionAffinityConfig", timeout);
                let named = |slice, n| bed_port(slice, n);
                vec![service.value(), bed.ready((0..PORTS).fold(slice("sticky-idle"), named), &ALL).value()]
            },
            idle,
        ),
    ]
}

fn bed_port(slice: crate::manifest::Slice, n: u16) -> crate::manifest::Slice {
    slice.port(&format!("p{n}"), "TCP", 8080)
}

fn sticky(name: &str, bed: &Bed, pods: &[&str]) -> Vec<Value> {
    let mut objects = of(name, |slice| bed.ready(slice, pods));
    objects[0]["spec"]["sessionAffinity"] = "ClientIP".into();
    objects
}

/// `one endpoint`, or all that answered.
fn how_many(client: &Client, transport: Transport, to: SocketAddr) -> Result<String> {
    look::settle("one endpoint", || {
        let seen = look::answers(client, transport, to)?;
        Ok(if ALL.contains(&seen.as_str()) { "one endpoint".to_owned() } else { seen })
    })
}

fn moved(bed: &Bed) -> Result<String> {
    let client = bed.client("client-1")?;
    let to = bed.service("sticky-moved", 80)?;
    let mut seen = vec![look::tcp(&client, to, "near-1")?];
    let endpoints = |pods: &[&str]| bed.ready(slice("sticky-moved").tcp(8080), pods).value();
    bed.apply(&[endpoints(&["near-1", "far-1"])])?;
    // A client without affinity yet sees that the endpoint is there: one of the node's other pods does at once.
    look::settle("far-1", || {
        bed.apply(&sticky("sticky-marker", bed, &["far-1"]))?;
        look::answers(&client, Transport::Tcp, bed.service("sticky-marker", 80)?)
    })?;
    seen.push(look::answers(&client, Transport::Tcp, to)?);
    bed.apply(&[endpoints(&["far-1"])])?;
    seen.push(look::tcp(&client, to, "far-1")?);
    Ok(seen.join("; "))
}

fn idle(bed: &Bed) -> Result<String> {
    let client = bed.client("client-1")?;
    let first = bed.service("sticky-idle", 80)?;
    let whom = || -> Result<Vec<String>> {
        (0..PORTS)
            .map(|n| {
                let tally = client.tally((first.ip(), first.port() + n), 1)?;
                tally.answers.into_keys().next().with_context(|| format!("{:?}", tally.errors))
            })
            .collect()
    };
    look::settle("served", || whom().map(|_| "served".to_owned()))?;
    let before = whom()?;
    let distinct: BTreeSet<_> = before.iter().collect();
    if distinct.len() == 1 {
        bail!("all ports chose {distinct:?}");
    }
    let mut kept = true;
    for _ in 0..5 {
        sleep(WITHIN);
        kept &= whom()? == before;
    }
    sleep(BEYOND);
    let ended = whom()? != before;
    let say = |yes, word: &'static str, other: &'static str| if yes { word } else { other };
    Ok(format!("{}; {}", say(kept, "the same", "others"), say(ended, "others", "the same")))
}
