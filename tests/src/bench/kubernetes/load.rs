//! Thousands of Services with their endpoints, put into the API server through several connections.

use super::ENDPOINTS;
use super::rig::Rig;
use crate::interrupt;
use crate::manifests::{service, slice};
use crate::services::endpoint_at;
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::thread;
use std::time::Instant;

/// Connections to the API server.
const CONNECTIONS: u32 = 8;

/// The addresses of the endpoints of a Service.
pub fn endpoints(number: u32) -> Vec<Ipv4Addr> {
    (0..ENDPOINTS).map(|pod| endpoint_at(number, pod)).collect()
}

/// Puts the Services of these numbers into the API server, each with an endpoint in every backend's pod. Number 0 is left
/// out: its address is the API server's.
pub fn services(rig: &Rig, numbers: Range<u32>) -> Result<()> {
    let started = Instant::now();
    thread::scope(|scope| {
        let part = |first: u32| {
            let numbers = numbers.clone().skip(first as usize).step_by(CONNECTIONS as usize);
            scope.spawn(move || rig.api.with_client(|client| put(client, numbers)))
        };
        let parts: Vec<_> = (0..CONNECTIONS).map(part).collect();
        parts.into_iter().try_for_each(|part| part.join().expect("it does not panic"))
    })?;
    eprintln!("  {} Services put into the API server in {:.0} s", numbers.len(), started.elapsed().as_secs_f64());
    Ok(())
}

async fn put(client: Client, numbers: impl Iterator<Item = u32>) -> Result<()> {
    let services = Api::<Service>::namespaced(client.clone(), "bench");
    let slices = Api::<EndpointSlice>::namespaced(client, "bench");
    for number in numbers {
        interrupt::check()?;
        create(&services, service(number, "TCP")).await.with_context(|| format!("Service {number}"))?;
        create(&slices, slice(number, "TCP", &endpoints(number))).await.with_context(|| format!("slice {number}"))?;
    }
    Ok(())
}

async fn create<K: Clone + Debug + DeserializeOwned + Serialize>(api: &Api<K>, object: Value) -> Result<()> {
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}
