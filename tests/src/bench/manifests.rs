//! Services and their endpoints as manifests, before a real agent.

use crate::fill::ENDPOINTS;
use crate::interrupt;
use crate::services::{self, PORT, TARGET};
use anyhow::{Context, Result, ensure};
use mesh_tests::world::{NODE_NAME, World};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// Services in one directory.
const IN_A_DIRECTORY: u32 = 100;

/// How long an agent may take to its first full list.
const PATIENCE: Duration = Duration::from_mins(2);

/// Writes Services `from` to `to` below the agent's directory, one file each with its `EndpointSlice`.
pub fn write(world: &World, from: u32, to: u32) -> Result<()> {
    for number in from..to {
        let directory = world.manifests().directory().join(format!("team-{}", number / IN_A_DIRECTORY));
        if number == from || number % IN_A_DIRECTORY == 0 {
            interrupt::check()?;
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        }
        let endpoints: Vec<_> = (0..ENDPOINTS).map(|e| services::endpoint(number, e, ENDPOINTS)).collect();
        let (service, slice) = (service(number, "TCP"), slice(number, "TCP", &endpoints));
        let file = directory.join(format!("{}.yaml", services::name(number)));
        fs::write(&file, format!("{}---\n{}", yaml(&service)?, yaml(&slice)?))
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// An object as YAML.
pub fn yaml(object: &Value) -> Result<String> {
    serde_saphyr::to_string(object).context("write YAML")
}

/// A Service with one port.
pub fn service(number: u32, protocol: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": services::name(number), "namespace": "bench"},
        "spec": {
            "clusterIP": services::cluster_ip(number).to_string(),
            "selector": {"app": services::name(number)},
            "ports": [{"name": "main", "protocol": protocol, "port": PORT, "targetPort": TARGET}],
        },
    })
}

/// Its endpoints, all ready.
pub fn slice(number: u32, protocol: &str, endpoints: &[Ipv4Addr]) -> Value {
    let endpoint = |address: &Ipv4Addr| {
        json!({
            "addresses": [address.to_string()], "nodeName": NODE_NAME,
            "conditions": {"ready": true, "serving": true, "terminating": false},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-1", services::name(number)), "namespace": "bench",
            "labels": {"kubernetes.io/service-name": services::name(number)},
        },
        "addressType": "IPv4",
        "ports": [{"name": "main", "protocol": protocol, "port": TARGET}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// Starts the world's agent and waits until so many Services are in the maps; returns how long that took.
pub fn start_agent(world: &World, services: u32) -> Result<Duration> {
    let started = Instant::now();
    world.agent().spawn()?;
    loop {
        interrupt::check()?;
        let status = world.agent().status();
        if let Ok(status) = &status {
            let read = |source: &Value| source["synced"] == true && source["objects"]["Service"] == services;
            let all_read = status["sources"].as_array().is_some_and(|sources| sources.iter().all(read));
            let in_force = status["programs"].as_array().is_some_and(|all| all.iter().all(|p| p["inForce"] == true));
            if all_read && in_force && status["services"]["waiting"] == 0 {
                return Ok(started.elapsed());
            }
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "the agent is not ready after {} s: {status:?}\n{}",
            PATIENCE.as_secs(),
            world.agent().log()
        );
        thread::sleep(Duration::from_millis(10));
    }
}
