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
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Slices written in a second; each has one of its endpoints replaced.
const A_SECOND: u32 = 1000;

/// One in so many writes is watched until the maps show it.
const SAMPLED: u32 = 97;

/// Writes under way at once: more would only wait within the API server.
const UNDER_WAY: usize = 32;

/// How long the maps may stay behind before the agent counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// With all Services loaded.
pub fn measure(rig: &Rig, effort: Effort, count: u32) -> Result<Section> {
    let seconds: u32 = effort.pick(2, 60);
    let mut section = Section::new(
        "A stream of changes",
        format!(
            "{A_SECOND} slices a second, one after the other of all Services, each with one of its {ENDPOINTS} endpoints \
             replaced by another, sent to the API server at a steady pace by one client. One in {SAMPLED} is watched: from \
             the API server's answer until the agent's maps hold those endpoints and no other, read where the programs read \
             them. API server, etcd, client and agent share the processors."
        ),
        &[
            "Services",
            "seconds",
            "changes a second",
            "behind, p50, ms",
            "p99",
            "most",
            "p99 of the last quarter",
            "agent, per cent of a core",
        ],
    );
    let maps = Arc::new(KernelMaps::new(descriptors(&Pins::new(rig.agent.pins()))?).context("open the pinned maps")?);
    let before = ran(rig.agent.id()?)?;
    let (behind, took) = rig.api.with_client(|client| stream(client, maps, count, A_SECOND * seconds))?;
    let share = 100.0 * (ran(rig.agent.id()?)? - before).as_secs_f64() / took.as_secs_f64();
    let reached = f64::from(A_SECOND * seconds) / took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let ms = |mut samples: Vec<u64>, share| quantile(&mut samples, share) as f64 / 1e6;
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| ms(behind.clone(), share));
    let last = ms(behind[behind.len() * 3 / 4..].to_vec(), 0.99);
    let mut row = vec![count.to_string(), seconds.to_string(), format!("{reached:.0}")];
    row.extend([p50, p99, most, last].map(|ms| format!("{ms:.1}")));
    row.push(format!("{share:.1}"));
    section.row(row);
    section.target(Target::new("endpoint changes a second", Limit::AtLeast(f64::from(A_SECOND) * 0.98), reached, ""));
    section.target(Target::new("behind the API server, p99", Limit::AtMost(100.0), p99, " ms"));
    section.target(Target::new("behind the API server, at most", Limit::AtMost(1000.0), most, " ms"));
    Ok(section)
}

/// Writes at a steady pace; how far the maps were behind each watched write, in its order in ns, and how long all took.
async fn stream(client: kube::Client, maps: Arc<KernelMaps>, count: u32, writes: u32) -> Result<(Vec<u64>, Duration)> {
    let api = Api::<EndpointSlice>::namespaced(client, "bench");
    let (mut written, mut watched) = (JoinSet::new(), JoinSet::new());
    let started = Instant::now();
    for number in 0..writes {
        interrupt::check()?;
        let due = started + Duration::from_secs(1) * number / A_SECOND;
        tokio::time::sleep_until(due.into()).await;
        let api = api.clone();
        written.spawn(async move { write(&api, number, count).await.map(|()| (number, Instant::now())) });
        while written.len() >= UNDER_WAY {
            let done = written.join_next().await.context("there are some")?;
            watch(&maps, count, done.context("a write panicked")??, &mut watched);
        }
        while let Some(done) = written.try_join_next() {
            watch(&maps, count, done.context("a write panicked")??, &mut watched);
        }
    }
    while let Some(done) = written.join_next().await {
        watch(&maps, count, done.context("a write panicked")??, &mut watched);
    }
    let took = started.elapsed();
    let mut behind = Vec::new();
    while let Some(done) = watched.join_next().await {
        behind.push(done.context("a watch panicked")??);
    }
    behind.sort_unstable();
    Ok((behind.into_iter().map(|(_, behind)| behind).collect(), took))
}

/// Replaces one endpoint of a Service.
async fn write(api: &Api<EndpointSlice>, number: u32, count: u32) -> Result<()> {
    let (service, endpoints) = after(number, count);
    let name = format!("{}-1", services::name(service));
    let object = serde_json::from_value(slice(service, "TCP", &endpoints))?;
    api.replace(&name, &PostParams::default(), &object).await.with_context(|| format!("replace {name}"))?;
    Ok(())
}

/// The Service that a write is about, and the endpoints that it has from then on.
fn after(number: u32, count: u32) -> (u32, Vec<Ipv4Addr>) {
    let (service, turn) = (1 + number % count, number / count);
    let own = load::endpoints(service);
    let endpoints = (0..).zip(own).map(|(index, own)| {
        // Each turn another endpoint is replaced, or put back.
        let replacements = (turn + u32::from(ENDPOINTS) - index) / u32::from(ENDPOINTS);
        // In 198.18.0.0/15, for benchmarks (RFC 2544): nobody connects to them.
        let other = Ipv4Addr::new(198, 18, 0, 1).to_bits() + service * u32::from(ENDPOINTS) + index;
        if replacements.is_multiple_of(2) { own } else { Ipv4Addr::from_bits(other) }
    });
    (service, endpoints.collect())
}

/// Has one in [`SAMPLED`] writes, which the API server has just answered, watched.
fn watch(
    maps: &Arc<KernelMaps>,
    count: u32,
    (number, answered): (u32, Instant),
    watched: &mut JoinSet<Result<(u32, u64)>>,
) {
    if !number.is_multiple_of(SAMPLED) {
        return;
    }
    let (maps, (service, endpoints)) = (Arc::clone(maps), after(number, count));
    let wanted: BTreeSet<_> = endpoints.into_iter().map(Address::from).collect();
    watched.spawn(async move {
        while in_maps(&maps, service)? != wanted {
            ensure!(answered.elapsed() < PATIENCE, "Service {service} is behind by {} s", PATIENCE.as_secs());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok((number, answered.elapsed().as_nanos() as u64))
    });
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
