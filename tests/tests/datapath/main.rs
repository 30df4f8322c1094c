//! The socket data path, as real programs in real pods see it: what is shown, what is counted, what is limited.

mod algorithms;
mod clients;
mod ejected;
mod flows;
mod lifetimes;
mod limits;
mod outlier;
mod picks;
mod places;
mod rates;
mod script;
mod shown;
mod signs;
mod slots;

use anyhow::Result;
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{service, slice, slice_v6};
use mesh_tests::world::{Pod, World};
use std::net::SocketAddr;

/// The Service `web` in each way to write its address: TCP port 80 and UDP port 53.
const ADDRESSES: [&str; 3] = ["10.96.0.10", "[fd00:10:96::10]", "[::ffff:10.96.0.10]"];

/// An address with a port.
fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

/// TCP port 80 of `web`.
fn tcp() -> SocketAddr {
    at("10.96.0.10:80")
}

/// UDP port 53 of `web`.
fn udp() -> SocketAddr {
    at("10.96.0.10:53")
}

/// A dual-stack Service `web` with running pods `web-1`, `web-2` and so on, the agent, and a client.
struct Shop {
    world: World,
    pods: Vec<Pod>,
    client: Client,
}

impl Shop {
    fn with_pods(count: usize) -> Result<Self> {
        let world = World::new()?;
        let ports = [Listen::tcp(8080), Listen::udp(53)];
        let pods: Vec<Pod> =
            (1..=count).map(|number| world.backend(&format!("web-{number}"), &ports)).collect::<Result<_>>()?;
        let web = service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53);
        world.apply(&web.yaml())?;
        world.apply(&slice("web").tcp(8080).udp(53).endpoints(&pods).yaml())?;
        world.apply(&slice_v6("web").tcp(8080).udp(53).endpoints(&pods).yaml())?;
        world.agent().start()?;
        let client = world.client("client")?;
        Ok(Self { world, pods, client })
    }
}
