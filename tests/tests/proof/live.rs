//! Every parameter of a policy is changed under load: no connection is harmed, and no count is lost.

use super::{FRONTEND, active, nothing_was_mended, web};
use anyhow::{Context, Result, ensure};
use mesh_tests::expect::counts;
use mesh_tests::manifest::policy;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::{wait_for, wait_until_equal};
use mesh_tests::world::World;
use nix::libc::ECONNREFUSED;
use serde_json::{Value, json};
use std::net::SocketAddr;

const CHANGES: usize = 300;

/// What the policy says, one after the other. None of it refuses anybody of few clients.
fn wishes() -> [Value; 11] {
    [
        json!({"limits": {"maxConnections": 1_000}}),
        json!({"limits": {"maxConnections": 500, "maxConnectionsPerBackend": 400}}),
        json!({"loadBalancer": {"algorithm": "RoundRobin"}}),
        json!({"loadBalancer": {"algorithm": "LeastConnections"}, "limits": {"maxConnectionsPerClient": 300}}),
        json!({"loadBalancer": {"algorithm": "Maglev"}, "limits": {"maxConnectionsPerClient": 200}}),
        json!({"loadBalancer": {"weights": [{"podNamePrefix": "web-1", "weight": 0}]}}),
        json!({"loadBalancer": {"weights": [{"podNamePrefix": "web-1", "weight": 9}, {"podNamePrefix": "web-2", "weight": 2}]}}),
        json!({"limits": {"connectionsPerSecond": 1_000_000, "connectionBurst": 1_000}}),
        // A rate would be as good as spent when the next begins.
        json!({"limits": {"maxConnections": 1, "maxConnectionsPerClient": 1, "mode": "Observe"}}),
        json!({"outlierDetection": {"consecutiveFailures": 5, "slowAnswerPercent": 60_000}}),
        json!({"loadBalancer": {"slowStart": {"windowSeconds": 5}}, "limits": {"connectionsPerSecondPerClient": 1_000_000, "connectionBurstPerClient": 100}}),
    ]
}

fn apply(world: &World, wishes: Value) -> Result<()> {
    world.apply(&policy(("default", "web"), "web", wishes).to_string())
}

#[test]
fn every_parameter_is_changed_300_times_under_load_and_no_connection_or_count_is_harmed() -> Result<()> {
    let world = World::new()?;
    let _backends = web(&world, "")?;
    let frontend: SocketAddr = FRONTEND.parse()?;
    let held = world.client("watched")?.connect_many(frontend, 5)?;
    let storm = Storm::start(&world.pod("client")?, 2, &Plan::to(frontend).hold(4))?;
    let wishes = wishes();
    for change in 0..CHANGES {
        // By steps that grow: each is followed by each other at some time.
        apply(&world, wishes[change * (1 + change / wishes.len()) % wishes.len()].clone())?;
        storm.wait_connected(1 + change as u64 * 7919 % 40)?;
    }
    storm.stop();
    let count = storm.finish()?;
    let reasons = &world.agent().ask(&["service", "show", "web"])?["reasons"];
    assert_eq!((count.failed, count.refused), (0, 0), "{count:?} {reasons}");
    for connection in &held {
        connection.ask("still there?")?;
    }
    wait_until_equal("the counts to be those of what is held", &5, || active(&world).unwrap_or(u64::MAX))?;
    drop(held);
    counts(world.agent(), "web", &[])?;
    nothing_was_mended(world.agent())
}

#[test]
fn a_limit_below_what_is_open_ends_nothing_and_new_ones_wait() -> Result<()> {
    let world = World::new()?;
    let _backends = web(&world, "")?;
    let frontend: SocketAddr = FRONTEND.parse()?;
    let client = world.client("client")?;
    let mut held = client.connect_many(frontend, 20)?;
    let in_force = |limit: Value| -> Result<()> {
        let wish = if limit.is_null() {
            json!({"loadBalancer": {"algorithm": "Random"}})
        } else {
            json!({"limits": {"maxConnections": limit}})
        };
        apply(&world, wish)?;
        wait_for("the limit to be in force", || {
            let web = world.agent().service("default", "web")?;
            ensure!(web["maxConnections"] == limit && web["active"] == held.len(), "{web}");
            Ok(())
        })
    };
    // Counted without a limit, too; over a limit that goes and comes, none is lost.
    for limit in [json!(10), Value::Null, json!(15), json!(10)] {
        in_force(limit)?;
    }
    assert_eq!(client.connect(frontend).unwrap_err().raw_os_error(), Some(ECONNREFUSED));
    for connection in &held {
        connection.ask("still there?")?;
    }
    // Eleven close, and there is room for one.
    held.truncate(9);
    wait_until_equal("nine to be counted", &9, || active(&world).unwrap_or(u64::MAX))?;
    held.push(client.connect(frontend).context("there is room")?);
    assert_eq!(client.connect(frontend).unwrap_err().raw_os_error(), Some(ECONNREFUSED));
    Ok(())
}
