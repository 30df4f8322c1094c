//! Limits at each level under a storm on two nodes at once, while clients, servers and agents are killed: never one too
//! many, and what is counted is what is open, each second.

use super::nothing_was_mended;
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::expect::{Open, open};
use mesh_tests::manifest::{policy, service, slice};
use mesh_tests::storm::{Count, Plan, Storm};
use mesh_tests::wait::{wait_for, wait_until_equal};
use mesh_tests::world::{Agent, Neighbour, Pod, Process, World};
use nix::libc::{ECONNREFUSED, ECONNRESET};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How many connections are made, of all storms together, and laps at least: each of three kinds of processes is killed on
/// each node. A million connections by hand.
const CONNECTIONS: (&str, u64) = ("MESH_STORM_CONNECTIONS", 100_000);
const LAPS: usize = 8;

/// Between two recounts.
const LAP: Duration = Duration::from_secs(1);

/// Of `web`: connections at once, and to each backend.
const AT_ONCE: u64 = 24;
const PER_BACKEND: u64 = 9;
/// Of `clients`: connections at once of each pod.
const PER_CLIENT: u64 = 5;
/// Of `rates`: new connections a second and at once, of all clients and of each.
const RATE: (u32, u32) = (400, 50);
const CLIENT_RATE: (u32, u32) = (150, 20);

const SERVICES: [(&str, &str); 3] =
    [("web", "10.96.0.10:80"), ("clients", "10.96.0.11:80"), ("rates", "10.96.0.12:80")];

/// Storms of one node: each is in a pod of its own, and for one Service.
struct Node<'w> {
    agent: &'w Agent,
    storms: Vec<(&'static str, Pod, Storm)>,
    started: Instant,
}

fn at(service: &str) -> Result<SocketAddr> {
    let (_, address) = SERVICES.iter().find(|(name, _)| *name == service).context("a Service")?;
    Ok(address.parse()?)
}

fn apply(world: &World, backends: &[Pod]) -> Result<()> {
    let limits = [
        json!({"maxConnections": AT_ONCE, "maxConnectionsPerBackend": PER_BACKEND}),
        json!({"maxConnectionsPerClient": PER_CLIENT}),
        json!({
            "connectionsPerSecond": RATE.0, "connectionBurst": RATE.1,
            "connectionsPerSecondPerClient": CLIENT_RATE.0, "connectionBurstPerClient": CLIENT_RATE.1,
        }),
    ];
    for ((name, address), limits) in SERVICES.iter().zip(limits) {
        let ip = address.trim_end_matches(":80");
        world.apply(&service(name).cluster_ip(ip).tcp(80, 8080).yaml())?;
        world.apply(&slice(name).tcp(8080).endpoints(backends).yaml())?;
        world.apply(&policy(("default", name), name, json!({"limits": limits})).to_string())?;
    }
    Ok(())
}

impl<'w> Node<'w> {
    fn storm(agent: &'w Agent, pod: impl Fn(&str) -> Result<Pod>) -> Result<Self> {
        let started = Instant::now();
        // They want more than they may have.
        let storms =
            [("web", 5, 8), ("clients", 2, 4), ("clients", 2, 4), ("rates", 1, 1), ("rates", 1, 1), ("rates", 1, 1)];
        let storms = storms.into_iter().enumerate().map(|(number, (service, processes, hold))| {
            let pod = pod(&format!("storm-{number}"))?;
            let storm = Storm::start(&pod, processes, &Plan::to(at(service)?).hold(hold))?;
            Ok((service, pod, storm))
        });
        Ok(Self { agent, storms: storms.collect::<Result<_>>()?, started })
    }

    fn of(&self, service: &str) -> impl Iterator<Item = &(&'static str, Pod, Storm)> {
        self.storms.iter().filter(move |(name, ..)| *name == service)
    }

    fn connected(&self) -> u64 {
        self.storms.iter().map(|(.., storm)| storm.count().connected).sum()
    }

    fn halt(&self) -> Result<()> {
        self.storms.iter().try_for_each(|(.., storm)| storm.halt())
    }

    fn go_on(&self) -> Result<()> {
        self.storms.iter().try_for_each(|(.., storm)| storm.go_on())
    }

    /// No limit on connections was exceeded since the last look, as clients saw it.
    fn was_never_above(&self) -> Result<()> {
        for (.., storm) in self.of("web") {
            ensure!(storm.count().most_open <= AT_ONCE, "web: {:?}", storm.count());
        }
        for (.., storm) in self.of("clients") {
            ensure!(storm.count().most_open <= PER_CLIENT, "a client: {:?}", storm.count());
        }
        Ok(())
    }

    /// No rate was ever exceeded, over all the time.
    fn is_within_rates(&self) -> Result<()> {
        let within = |connected: u64, (rate, burst): (u32, u32)| {
            // Read before the clock, so that what came in between is not held against it.
            let most = f64::from(burst) + f64::from(rate) * self.started.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "some thousands")]
            let connected = connected as f64;
            ensure!(connected <= most, "{connected} connections at {rate} a second, {most:.0} at most");
            Ok(())
        };
        within(self.of("rates").map(|(.., storm)| storm.count().connected).sum(), RATE)?;
        self.of("rates").try_for_each(|(.., storm)| within(storm.count().connected, CLIENT_RATE))
    }

    /// While nobody connects or closes: for each Service its count, those of its backends, the table's entries and the
    /// sockets of its clients are one number.
    fn is_counted_right(&self) -> Result<()> {
        for (service, _) in SERVICES {
            wait_for(&format!("the counts of {service} to be what is open"), || {
                let sockets = self.of(service).map(|(_, pod, _)| sockets(pod)).collect::<Result<Vec<_>>>()?;
                let (sum, counted) = (sockets.iter().sum::<u64>(), open(self.agent, service)?);
                let by_backend: u64 = counted.backends.values().sum();
                ensure!([counted.service, by_backend, counted.connections] == [sum; 3], "{sockets:?}: {counted:?}");
                ensure!(
                    service != "web" || counted.backends.values().all(|count| *count <= PER_BACKEND),
                    "{counted:?}"
                );
                ensure!(service != "web" || sum <= AT_ONCE, "{sum} sockets");
                ensure!(service != "clients" || sockets.iter().all(|count| *count <= PER_CLIENT), "{sockets:?}");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn end(self) -> Result<Count> {
        let mut all = Count::default();
        for (.., storm) in &self.storms {
            storm.stop();
        }
        for (_, _, storm) in self.storms {
            let count = storm.finish()?;
            // A server that is killed resets who has just connected to it.
            ensure!(count.failed == 0 || count.errno == ECONNRESET as u64, "{count:?}");
            all.connected += count.connected;
            all.refused += count.refused;
            all.failed += count.failed;
        }
        Ok(all)
    }
}

/// TCP sockets in a pod's network that are connected to a server, or about to be.
fn sockets(pod: &Pod) -> Result<u64> {
    const GONE: [&str; 2] = ["06", "07"]; // TIME_WAIT, CLOSE
    let table = pod.netns().run(|| fs::read_to_string("/proc/thread-self/net/tcp").context("read /proc/net/tcp"))?;
    let is_open = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        let (to, state) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        to.ends_with(":1F90") && !GONE.contains(&state)
    };
    Ok(table.lines().skip(1).filter(is_open).count() as u64)
}

/// What is killed in a lap.
const STRIKES: usize = 4;
const SERVERS: usize = 0;
/// What clients hold of servers that were killed is closed: from here on what they count is right again.
const NOTHING: usize = 1;
const CLIENTS: usize = 2;

/// Kills something in each lap, in turn.
fn strike(lap: usize, nodes: &[Node<'_>; 2], backends: &[Pod], servers: &mut [Process]) -> Result<()> {
    let turn = lap / STRIKES;
    let node = &nodes[turn % 2];
    match lap % STRIKES {
        NOTHING => {}
        CLIENTS => {
            for (.., storm) in &node.storms {
                storm.replace(turn % storm.processes_at_start())?;
            }
        }
        SERVERS => {
            let number = turn % backends.len();
            servers[number].kill();
            servers[number] = backends[number].serve(&[Listen::tcp(8080)])?;
        }
        _ => {
            node.agent.kill()?;
            // It goes without one for a while.
            node.storms[0].2.wait_connected(200)?;
            node.agent.start()?;
        }
    }
    Ok(())
}

#[test]
fn limits_hold_on_two_nodes_whoever_is_killed_and_each_second_what_is_counted_is_what_is_open() -> Result<()> {
    let goal = env::var(CONNECTIONS.0).ok().map_or(Ok(CONNECTIONS.1), |text| text.parse()).context(CONNECTIONS.0)?;
    let world = World::new()?;
    let other: Neighbour<'_> = world.neighbour("node-2")?;
    let backends = (1..=3).map(|n| world.pod(&format!("web-{n}"))).collect::<Result<Vec<_>>>()?;
    let mut servers = backends.iter().map(|pod| pod.serve(&[Listen::tcp(8080)])).collect::<Result<Vec<_>>>()?;
    apply(&world, &backends)?;
    let agents = [world.agent(), other.agent()];
    agents.iter().try_for_each(|agent| agent.start())?;
    let nodes = [Node::storm(agents[0], |name| world.pod(name))?, Node::storm(agents[1], |name| other.pod(name))?];

    let started = Instant::now();
    let mut laps = 0;
    while laps < LAPS || nodes.iter().map(Node::connected).sum::<u64>() < goal {
        thread::sleep(LAP);
        nodes.iter().try_for_each(Node::is_within_rates)?;
        if laps % STRIKES != SERVERS + 1 {
            nodes.iter().try_for_each(Node::was_never_above)?;
        }
        strike(laps, &nodes, &backends, &mut servers)?;
        nodes.iter().try_for_each(Node::halt)?;
        nodes.iter().try_for_each(Node::is_counted_right)?;
        if laps % STRIKES == NOTHING {
            nodes.iter().flat_map(|node| &node.storms).for_each(|(.., storm)| storm.forget_most());
        }
        nodes.iter().try_for_each(Node::go_on)?;
        laps += 1;
    }
    let took = started.elapsed();
    for (number, node) in nodes.into_iter().enumerate() {
        node.is_within_rates()?;
        let count = node.end()?;
        println!("node {}: {count:?} in {took:.1?}, {laps} laps", number + 1);
        assert!(count.refused > 0 && count.connected > 0, "{count:?}");
    }
    // Nothing is left counted, so the whole limit is there on each node, and not one more.
    let clients = [world.client("after")?, other.client("after")?];
    for (agent, client) in agents.iter().zip(&clients) {
        for (service, _) in SERVICES {
            wait_until_equal(service, &Open::default(), || open(agent, service).unwrap_or(Open::of(&[("?", 1)])))?;
        }
        let _held = client.connect_many(at("web")?, AT_ONCE as usize)?;
        assert_eq!(client.connect(at("web")?).unwrap_err().raw_os_error(), Some(ECONNREFUSED));
        nothing_was_mended(agent)?;
    }
    Ok(())
}
