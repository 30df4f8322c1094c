//! Limits at the backend's own node, for what arrives from anywhere: real clients, most of them such as no mesh covers.

mod clsact;
mod ends;
mod flood;
mod limit;
mod lives;
mod storm;

use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{policy, service, slice, slice_v6};
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use nix::libc::ECONNREFUSED;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// The port that is limited.
const PORT: u16 = 8080;
/// Another port of the same pod.
const OTHER: u16 = 8081;
/// The Service's address.
const CLUSTER_IP: &str = "10.96.0.10";

/// A Service with one backend, and a machine beside the mesh.
struct Scene {
    world: World,
    backend: Pod,
    outsider: Client,
    /// A shell on the node itself.
    node: Pod,
}

impl Scene {
    /// With a limit in force; `None` for none.
    fn new(limit: Option<u64>) -> Result<Self> {
        Self::of(World::new()?, limit)
    }

    /// The same in this world.
    fn of(world: World, limit: Option<u64>) -> Result<Self> {
        let backend = world.backend("web-1", &[Listen::tcp(PORT), Listen::tcp(OTHER)])?;
        let outsider = world.outsider("outsider")?.client()?;
        let node = world.host_pod("node")?;
        world.apply(&service("web").cluster_ip(CLUSTER_IP).cluster_ip("fd00:96::a").tcp(80, PORT).yaml())?;
        world.apply(&slice("web").tcp(PORT).endpoint(&backend).yaml())?;
        world.apply(&slice_v6("web").tcp(PORT).endpoint(&backend).yaml())?;
        if let Some(limit) = limit {
            world.apply(&limits(limit))?;
        }
        world.agent().start()?;
        let scene = Self { world, backend, outsider, node };
        if let Some(limit) = limit {
            scene.in_force(limit)?;
        }
        Ok(scene)
    }

    /// The limited port, IPv4.
    fn at(&self) -> SocketAddr {
        self.backend.at(PORT)
    }

    /// Waits until this limit is in force for both families.
    fn in_force(&self, limit: u64) -> Result<()> {
        for address in [self.backend.v4(), self.backend.v6()] {
            self.wait(address, &format!("a limit of {limit}"), |inbound| inbound["maxConnections"] == limit)?;
        }
        wait_for("the programs to be at the interface", || {
            let status = self.world.agent().status()?;
            ensure!(status["inbound"]["inForce"] == 2 && status["inbound"]["interfaces"] == 1, "{status:#}");
            Ok(())
        })
    }

    /// Waits until the IPv4 backend counts so many connections.
    fn counts(&self, active: u64) -> Result<()> {
        self.wait(self.backend.v4(), &format!("{active} connections"), |inbound| inbound["active"] == active)
    }

    fn wait(&self, address: IpAddr, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        wait_for(&format!("{what} at {address}"), || {
            let inbound = self.inbound(address)?;
            ensure!(is(&inbound), "{inbound}; {}", self.world.agent().status()?["inbound"]);
            Ok(())
        })
    }

    /// What the agent says of a backend's own interface.
    fn inbound(&self, address: IpAddr) -> Result<Value> {
        let backends = self.world.agent().ask(&["backend", "list"])?;
        let backends = backends.as_array().context("a list")?;
        let found = backends.iter().find(|backend| backend["address"] == address.to_string());
        Ok(found.with_context(|| format!("{address} is no backend"))?["inbound"].clone())
    }

    /// No recount has found a count that was off twice, nor set one right.
    fn is_exact(&self) -> Result<()> {
        let inbound = self.world.agent().status()?["inbound"].take();
        ensure!(inbound["drifted"] == 0 && inbound["repaired"] == 0, "{inbound}");
        Ok(())
    }

    /// How often packets were refused, reset or dropped for a reason.
    fn packets(&self, reason: &str) -> Result<u64> {
        let status = self.world.agent().status()?;
        status["inbound"]["packets"][reason].as_u64().with_context(|| format!("no {reason} in {status:#}"))
    }
}

/// The policy with this limit.
fn limits(limit: u64) -> String {
    wishes(&json!({"maxInboundConnectionsPerBackend": limit}))
}

fn wishes(limits: &Value) -> String {
    policy(("default", "web-limits"), "web", json!({"limits": limits})).to_string()
}

/// A connect() must be refused at once, by a RST to the SYN.
fn is_refused(client: &Client, to: SocketAddr) {
    let error = client.connect(to).map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ECONNREFUSED), "{to}: {error}");
}
