//! Which capabilities the agent needs, proven by taking one after the other away: the table of docs/running.md.

use anyhow::{Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::expect::{counts, tcp_reaches};
use mesh_tests::manifest::{service, slice};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use nix::libc::ECONNABORTED;
use serde_json::Value;
use std::net::SocketAddr;

/// What the chart gives the agent.
const ALL: [&str; 2] = ["NET_ADMIN", "SYS_ADMIN"];

/// What it gives where ending sockets in pods is switched off.
const WITHOUT_ENDING: [&str; 3] = ["BPF", "NET_ADMIN", "PERFMON"];

fn frontend() -> SocketAddr {
    "10.96.0.10:80".parse().expect("an address with a port")
}

/// A Service whose connections end with their endpoint, and two pods of which the first is one.
fn furnish() -> Result<(World, [Pod; 2])> {
    let world = World::new()?;
    let pods = [world.backend("web-1", &[Listen::tcp(8080)])?, world.backend("web-2", &[Listen::tcp(8080)])?];
    let web = service("web").cluster_ip("10.96.0.10").tcp(80, 8080).annotation("mesh.dev/drain", "End");
    world.apply(&web.yaml())?;
    world.apply(&slice("web").tcp(8080).endpoint(&pods[0]).yaml())?;
    Ok((world, pods))
}

/// Starts the agent so, has it adopt what it left, and follows a change: everything but ending sockets.
fn serves(world: &World, pods: &[Pod; 2], capabilities: &[&str]) -> Result<()> {
    world.agent().spawn_able(capabilities)?;
    world.agent().wait_ready()?;
    let client = world.client("client")?;
    tcp_reaches(&client, frontend(), &["web-1"])?;
    world.agent().kill()?;
    world.agent().spawn_able(capabilities)?;
    world.agent().wait_ready()?;
    let held = client.connect(frontend())?;
    counts(world.agent(), "web", &[("web-1", 1)])?;
    let status = world.agent().status()?;
    ensure!(status["health"] == "ok", "{status:#}");
    world.apply(&slice("web").tcp(8080).endpoint(&pods[1]).yaml())?;
    tcp_reaches(&client, frontend(), &["web-2"])?;
    if capabilities == ALL {
        return wait_for("the connection to be ended", || match held.server() {
            Err(error) if error.raw_os_error() == Some(ECONNABORTED) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let problem = |status: &Value| status["problems"].to_string().contains("connections could not be ended");
    wait_for("the agent to say that it cannot end the connection", || {
        let status = world.agent().status().map_err(|error| format!("{error:#}"))?;
        if problem(&status) { Ok(()) } else { Err(status["problems"].to_string()) }
    })?;
    ensure!(held.server()? == "web-1");
    Ok(())
}

/// Starts the agent so, and returns why it ended.
fn fails(world: &World, capabilities: &[&str]) -> Result<String> {
    let before = world.agent().log().len();
    world.agent().spawn_able(capabilities)?;
    wait_for("the agent to give up", || if world.agent().is_running() { Err("it runs") } else { Ok(()) })?;
    Ok(world.agent().log().split_off(before))
}

#[test]
fn with_the_charts_capabilities_everything_works() -> Result<()> {
    let (world, pods) = furnish()?;
    serves(&world, &pods, &ALL)?;
    world.agent().stop()?;
    world.agent().unload_able(&ALL)
}

#[test]
fn without_sys_admin_everything_works_but_ending_sockets_in_pods() -> Result<()> {
    let (world, pods) = furnish()?;
    serves(&world, &pods, &WITHOUT_ENDING)?;
    world.agent().stop()?;
    world.agent().unload_able(&WITHOUT_ENDING)
}

#[test]
fn net_admin_is_what_ends_sockets_beside_sys_admin() -> Result<()> {
    let (world, pods) = furnish()?;
    serves(&world, &pods, &["SYS_ADMIN"])
}

#[test]
fn without_any_other_of_them_the_agent_does_not_start_and_says_why() -> Result<()> {
    let (world, _) = furnish()?;
    for (without, of, what) in [
        ("SYS_ADMIN", &ALL[..], "create the maps"),
        ("BPF", &WITHOUT_ENDING[..], "create the maps"),
        ("NET_ADMIN", &WITHOUT_ENDING[..], "load program sock_release"),
        ("PERFMON", &WITHOUT_ENDING[..], "pointer arithmetic with it prohibited for !root"),
    ] {
        let left: Vec<_> = of.iter().copied().filter(|name| *name != without).collect();
        let said = fails(&world, &left)?;
        ensure!(said.contains(what), "without {without} of {of:?}:\n{said}");
    }
    Ok(())
}
