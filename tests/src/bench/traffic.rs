//! What limits and algorithms add to the connect program, by the kernel's own statistics.

use crate::Effort;
use crate::bed::Bed;
use crate::inside;
use crate::priority::{self, Breath};
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::Spread;
use crate::statistics::{self, Counting};
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use mesh_common::select::Algorithm;
use mesh_common::select::maglev::{self, Entry};
use mesh_common::tables::{Rate, TrafficRule};
use mesh_userspace::plan::DesiredService;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Services by number.
    services: Vec<u32>,
    /// The connect program.
    program: u32,
    rounds: u32,
    /// Connections to each Service in a round.
    runs: u32,
}

/// Mean ns of the program for each Service, in each round.
type Rounds = Vec<Vec<f64>>;

/// A way to serve: its name, what it changes, and by how many ns it may be dearer than the first.
type Way = (&'static str, fn(&mut DesiredService), Option<f64>);

const WAYS: [Way; 9] = [
    ("Random", |_| {}, None),
    ("RoundRobin", |desired| algorithm(desired, Algorithm::RoundRobin), None),
    ("LeastConnections", |desired| algorithm(desired, Algorithm::LeastConnections), Some(100.0)),
    ("Maglev", |desired| algorithm(desired, Algorithm::Maglev), Some(100.0)),
    ("Random, maxConnections and maxConnectionsPerBackend", limit, None),
    ("Random, maxConnectionsPerClient", |desired| desired.traffic.client_limit = Some(1_000_000), None),
    ("Random, connectionsPerSecond", |desired| desired.traffic.rate = Some(RATE), None),
    ("Random, connectionsPerSecondPerClient", |desired| desired.traffic.client_rate = Some(RATE), None),
    ("Random, every limit", every_limit, Some(150.0)),
];

/// A rate that nobody reaches.
const RATE: Rate = Rate { cost: 1, burst: 1_000_000_000 };

fn algorithm(desired: &mut DesiredService, algorithm: Algorithm) {
    for port in &mut desired.ports {
        port.algorithm = algorithm;
        if algorithm == Algorithm::Maglev {
            let entry =
                |key: &mesh_userspace::plan::BackendKey| Entry { name: maglev::name(&key.address, 0), weight: 1 };
            let entries: Vec<Entry> = port.slots.iter().map(entry).collect();
            let table = maglev::table(&entries, maglev::size(entries.len(), 0));
            port.slots = table.into_iter().map(|index| port.slots[index as usize]).collect();
        }
    }
}

fn limit(desired: &mut DesiredService) {
    (desired.max_connections, desired.max_connections_per_backend) = (1_000_000, 1_000_000);
}

/// Limits that nobody reaches.
fn every_limit(desired: &mut DesiredService) {
    limit(desired);
    desired.traffic = TrafficRule {
        client_limit: Some(1_000_000),
        rate: Some(RATE),
        client_rate: Some(RATE),
        ..TrafficRule::default()
    };
}

/// One hot Service for each way.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "What limits and algorithms add",
        "Mean ns of a run of the connect program by the kernel's statistics, UDP, one hot Service with three backends for each \
         way, a round of each in turn; the difference is to the first of the same round.",
        &["Service", "connect, ns", "more than Random, ns"],
    );
    let mut bed = Bed::make()?;
    let programs = bed.attach()?;
    for (number, (_, change, _)) in (0..).zip(WAYS) {
        bed.fill_with(number, Protocol::Udp, change)?;
    }
    // Many short rounds: what else the machine does lasts longer than one, and meets all ways alike.
    let (rounds, runs) = effort.pick((3, 1_000), (401, 1_000));
    let program = *programs.get("connect4").context("the connect program")?;
    let job = Job { services: (0..WAYS.len() as u32).collect(), program, rounds, runs };
    let measured: Rounds = inside::run(&bed.client, &inside::Job::Traffic(job))?;
    for (number, (name, _, most)) in WAYS.into_iter().enumerate() {
        let means = measured.iter().map(|round| round[number]);
        let more = measured.iter().map(|round| round[number] - round[0]);
        let more = Spread::of(more).context("no round")?;
        section.row(vec![name.to_owned(), Spread::of(means).context("no round")?.to_string(), more.to_string()]);
        if let Some(most) = most {
            let what = format!("connect program, {name}, more than Random");
            section.target(Target::new(what, Limit::AtMost(most), more.median, " ns"));
        }
    }
    Ok(section)
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Rounds> {
        if let Err(error) = priority::raise() {
            eprintln!("measuring at ordinary priority: {error:#}");
        }
        let mut breath = Breath::new();
        let _counting = Counting::start()?;
        let mut rounds = Rounds::new();
        // The first round warms up.
        for _ in 0..=self.rounds {
            let mut means = Vec::new();
            for &service in &self.services {
                let before = statistics::read(&[self.program]);
                for _ in 0..self.runs {
                    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("make a socket")?;
                    let to = services::frontend(service);
                    socket.connect(&to.into()).with_context(|| format!("connect to {to}"))?;
                    breath.take();
                }
                let after = statistics::read(&[self.program]);
                let runs = after.get(&self.program).zip(before.get(&self.program));
                means.push(
                    runs.and_then(|(after, before)| after.mean_since(before)).context("the program did not run")?,
                );
            }
            rounds.push(means);
        }
        rounds.remove(0);
        Ok(rounds)
    }
}
