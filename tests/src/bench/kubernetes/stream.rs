//! A thousand endpoint changes a second for a minute, and how far the maps are behind.

use super::rest::ran;
use super::rig::Rig;
use super::{ENDPOINTS, load};
use crate::Effort;
use crate::interrupt;
use crate::manifests::slice;
use crate::report::{Limit, Section, Target};
use crate::services::{self, PORT};
use crate::spread::quantile;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, PostParams};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::tables::{FrontendKey, SlotRange};
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::{KernelMaps, Maps};
use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Endpoint changes in a second.
const A_SECOND: u32 = 1000;

/// One in so many writes is watched until the maps show it.
const SAMPLED: u32 = 17;

/// Writes under way at once: more would only wait within the API server.
const UNDER_WAY: usize = 32;

/// How long the maps may stay behind before the agent counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// A stream of writes, each to another Service's slice.
#[derive(Clone, Copy)]
struct Pace {
    /// Endpoints of the slice that are replaced.
    replaced: u8,
    /// How long the stream lasts.
    over: Duration,
    /// Services in all.
    count: u32,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    written: u32,
    took: Duration,
    /// How far the maps were behind each watched write, in ns, by its number.
    behind: Vec<(u32, u64)>,
}

/// With all Services loaded.
pub fn measure(rig: &Rig, effort: Effort, count: u32) -> Result<Section> {
    let mut section = Section::new(
        "A stream of changes",
        format!(
            "One client sends the API server slices, one after the other of all Services, at the pace that makes {A_SECOND} \
             endpoint changes a second: with all {ENDPOINTS} endpoints of a slice replaced by others, and with one of them, \
             as far as the API server bears that here. One in {SAMPLED} writes is watched: from the API server's answer until \
             the agent's maps hold those endpoints and no other, read where the programs read them. API server, etcd, client \
             and agent share the processors."
        ),
        &[
            "Services",
            "replaced in a slice",
            "seconds",
            "slices a second",
            "endpoint changes a second",
            "behind, p50, ms",
            "p99",
            "most",
            "p99 of the last quarter",
            "agent, per cent of a core",
        ],
    );
    let maps = Arc::new(KernelMaps::new(descriptors(&Pins::new(rig.agent.pins()))?).context("open the pinned maps")?);
    // Which endpoints of each Service are replaced by others, a bit each.
    let mut masks = vec![0_u16; count as usize];
    for replaced in [ENDPOINTS, 1] {
        let pace = Pace { replaced, over: Duration::from_secs(effort.pick(1, 60)), count };
        let before = ran(rig.agent.id()?)?;
        let outcome = rig.api.with_client(|client| stream(client, Arc::clone(&maps), pace, &mut masks))?;
        let share = 100.0 * ran(rig.agent.id()?)?.saturating_sub(before).as_secs_f64() / outcome.took.as_secs_f64();
        report(&mut section, pace, outcome, share)?;
    }
    Ok(section)
}

fn report(section: &mut Section, pace: Pace, outcome: Outcome, share: f64) -> Result<()> {
    let Outcome { written, took, behind } = outcome;
    let slices = f64::from(written) / took.as_secs_f64();
    let reached = slices * f64::from(pace.replaced);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let ms = |samples: &[(u32, u64)], share| {
        let mut samples: Vec<u64> = samples.iter().map(|(_, behind)| *behind).collect();
        quantile(&mut samples, share) as f64 / 1e6
    };
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| ms(&behind, share));
    let last = ms(behind.get(behind.len() * 3 / 4..).context("a part of it")?, 0.99);
    let mut row = vec![pace.count.to_string(), pace.replaced.to_string(), format!("{:.0}", took.as_secs_f64())];
    row.extend([slices, reached].map(|rate| format!("{rate:.0}")));
    row.extend([p50, p99, most, last].map(|ms| format!("{ms:.1}")));
    row.push(format!("{share:.1}"));
    section.row(row);
    if pace.replaced == ENDPOINTS {
        let enough = Limit::AtLeast(0.98 * f64::from(A_SECOND));
        section.target(Target::new("endpoint changes a second", enough, reached, ""));
        section.target(Target::new("behind the API server, p99", Limit::AtMost(100.0), p99, " ms"));
        section.target(Target::new("behind the API server, at most", Limit::AtMost(1000.0), most, " ms"));
    }
    Ok(())
}

/// Writes at a steady pace.
async fn stream(client: kube::Client, maps: Arc<KernelMaps>, pace: Pace, masks: &mut [u16]) -> Result<Outcome> {
    let api = Api::<EndpointSlice>::namespaced(client, "bench");
    let (mut writes, mut busy) = (JoinSet::new(), HashSet::new());
    let (mut outcome, mut next, started) = (Outcome::default(), 0, Instant::now());
    loop {
        interrupt::check()?;
        let due = started + Duration::from_secs(1) * outcome.written * u32::from(pace.replaced) / A_SECOND;
        if due.max(Instant::now()) > started + pace.over {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        while let Some(done) = writes.try_join_next() {
            outcome.take(&done.context("a write panicked")??, &mut busy);
        }
        while busy.len() >= UNDER_WAY.min(pace.count as usize) {
            let done = writes.join_next().await.context("one is under way")?;
            outcome.take(&done.context("a write panicked")??, &mut busy);
        }
        // One that is not yet seen is not written again, or it might never be seen.
        while busy.contains(&(next % pace.count)) {
            next += 1;
        }
        let (index, turn) = (next % pace.count, next / pace.count);
        next += 1;
        busy.insert(index);
        let mask = &mut masks[index as usize];
        *mask ^= if pace.replaced == ENDPOINTS { !0 } else { 1 << (turn % u32::from(ENDPOINTS)) };
        let watched = outcome.written.is_multiple_of(SAMPLED).then(|| Arc::clone(&maps));
        writes.spawn(write(api.clone(), outcome.written, index, endpoints(1 + index, *mask), watched));
        outcome.written += 1;
    }
    outcome.took = started.elapsed();
    while let Some(done) = writes.join_next().await {
        outcome.take(&done.context("a write panicked")??, &mut busy);
    }
    outcome.behind.sort_unstable();
    Ok(outcome)
}

/// A write that is done, and seen if it was watched.
struct Written {
    number: u32,
    index: u32,
    behind: Option<u64>,
}

impl Outcome {
    fn take(&mut self, written: &Written, busy: &mut HashSet<u32>) {
        busy.remove(&written.index);
        self.behind.extend(written.behind.map(|behind| (written.number, behind)));
    }
}

/// The endpoints of a Service of which some are replaced.
fn endpoints(service: u32, mask: u16) -> Vec<Ipv4Addr> {
    let own = load::endpoints(service);
    let either = (0..).zip(own).map(|(index, own)| {
        // In 198.18.0.0/15, for benchmarks (RFC 2544): nobody connects to them.
        let other = Ipv4Addr::new(198, 18, 0, 1).to_bits() + service * u32::from(ENDPOINTS) + index;
        if mask & 1 << index == 0 { own } else { Ipv4Addr::from_bits(other) }
    });
    either.collect()
}

/// Writes a slice and, if the maps are given, waits until they show it.
async fn write(
    api: Api<EndpointSlice>,
    number: u32,
    index: u32,
    endpoints: Vec<Ipv4Addr>,
    maps: Option<Arc<KernelMaps>>,
) -> Result<Written> {
    let service = 1 + index;
    let name = format!("{}-1", services::name(service));
    let object = serde_json::from_value(slice(service, "TCP", &endpoints))?;
    api.replace(&name, &PostParams::default(), &object).await.with_context(|| format!("replace {name}"))?;
    let Some(maps) = maps else { return Ok(Written { number, index, behind: None }) };
    let (answered, wanted) = (Instant::now(), endpoints.into_iter().map(Address::from).collect::<BTreeSet<_>>());
    while in_maps(&maps, service)? != wanted {
        ensure!(answered.elapsed() < PATIENCE, "{name} is not in the maps after {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(Written { number, index, behind: Some(answered.elapsed().as_nanos() as u64) })
}

/// Where the programs would send a client of this Service.
fn in_maps(maps: &KernelMaps, service: u32) -> Result<BTreeSet<Address>> {
    let frontend = FrontendKey::new(services::cluster_ip(service).into(), Port::from_host(PORT), Protocol::Tcp);
    let id = maps.frontend(&frontend)?.context("the Service is not in the maps")?;
    let arrays = maps.arrays();
    let range = SlotRange::unpack(arrays.service(id).context("beyond the table")?.slots.load());
    let slots = arrays.slots.get(range.base as usize..(range.base + range.len) as usize).context("beyond the table")?;
    Ok(slots.iter().filter_map(|slot| Some(arrays.backend(slot.load())?.address())).collect())
}
