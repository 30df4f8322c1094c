//! Requests with one slow backend of five, at a fixed pace: how long they take by algorithm, with and without ejection.

use crate::Effort;
use crate::inside;
use crate::picture::{Bars, Group};
use crate::report::{Limit, Section, Target};
use crate::services::{self, PORT, TARGET};
use crate::spread::quantile;
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::manifest;
use mesh_tests::wait::wait_for;
use mesh_tests::world::{Pod, World};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What the clients' process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The clients: network namespaces, one thread in each, which take turns.
    clients: Vec<PathBuf>,
    to: SocketAddrV4,
    requests: u32,
    /// Between two requests, of all clients together.
    pace: Duration,
}

/// What became of the requests of one run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// From when a request was due to its answer, ns.
    latencies: Vec<u64>,
    /// How many the slow backend answered.
    slow: u32,
}

/// By how much the slow backend is slow.
const DELAY: Duration = Duration::from_millis(20);

/// Requests at once are no more than clients: of these each has one in 80 ms, so a slow answer delays no other request.
const CLIENTS: usize = 40;
const PACE: Duration = Duration::from_millis(2);

/// The picture's name, beside the page.
pub const PICTURE: &str = "performance-tail.svg";

/// Ways to share out: name, and what the policy's `loadBalancer` says.
fn ways() -> [(&'static str, Value); 5] {
    let weights = json!([{"podNamePrefix": "slow", "weight": 1}, {"podNamePrefix": "quick", "weight": 4}]);
    [
        ("Random", json!({"algorithm": "Random"})),
        ("RoundRobin", json!({"algorithm": "RoundRobin"})),
        ("Random, the slow one's weight 1 to 4", json!({"algorithm": "Random", "weights": weights})),
        ("LeastConnections", json!({"algorithm": "LeastConnections"})),
        ("Maglev", json!({"algorithm": "Maglev"})),
    ]
}

/// With the real agent, and real servers.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Requests with one slow backend of five",
        "A request is a new connection, a line, and the answer. One of five servers sleeps 20 ms before it answers; it accepts as \
         quickly as the others. 500 requests a second come at fixed times from 40 clients in 40 pods, several at once, and \
         each counts from the time at which it was due. *Ejecting* is `outlierDetection` with `slowAnswerPercent: 300`; the \
         answers until the slow one was out are among the figures. The Services take turns, a second or two each.",
        &["algorithm", "ejecting", "requests", "answered by the slow one", "p50, ms", "p90, ms", "p99, ms"],
    );
    let (rounds, requests) = effort.pick((1, 200), (6, 1_000));
    let world = World::named("mesh-bench")?;
    let (clients, _backends) = furnish(&world)?;
    let services: Vec<(&str, bool)> = ways().iter().flat_map(|(name, _)| [(*name, false), (*name, true)]).collect();
    let mut runs: Vec<Run> = services.iter().map(|_| Run::default()).collect();
    for _ in 0..rounds {
        for (number, all) in runs.iter_mut().enumerate() {
            let to = services::frontend(number as u32);
            let netns = clients.iter().map(|pod| pod.netns().path().to_owned()).collect();
            let job = inside::Job::Tail(Job { clients: netns, to, requests, pace: PACE });
            let run: Run = inside::run(&clients[0], &job)?;
            all.latencies.extend(run.latencies);
            all.slow += run.slow;
        }
    }
    let mut bars = Bars::new(
        "Requests with one of five backends slow by 20 ms",
        "milliseconds",
        ["p90", "p99", "p90, ejecting", "p99, ejecting"],
    );
    for (ways, runs) in services.chunks(2).zip(runs.chunks_mut(2)) {
        let mut heights = Vec::new();
        for ((name, ejecting), run) in ways.iter().zip(runs) {
            heights.extend(report(&mut section, name, *ejecting, run));
        }
        bars.push(Group { name: ways[0].0, heights });
    }
    section.picture(PICTURE, bars.draw()?);
    Ok(section)
}

/// One Service's line; p90 and p99 in ms.
fn report(section: &mut Section, name: &str, ejecting: bool, run: &mut Run) -> [f64; 2] {
    let count = run.latencies.len();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let mut ms = |share| quantile(&mut run.latencies, share) as f64 / 1e6;
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(&mut ms);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let share = f64::from(run.slow) / count as f64 * 100.0;
    let mut row = vec![name.to_owned(), if ejecting { "yes" } else { "no" }.to_owned(), count.to_string()];
    row.push(format!("{} ({share:.1} %)", run.slow));
    row.extend([p50, p90, p99].map(|ms| format!("{ms:.2}")));
    section.row(row);
    if ejecting {
        let what = format!("one slow backend of five, {name}, ejecting, p99");
        section.target(Target::new(what, Limit::AtMost(10.0), p99, " ms"));
    }
    [p90, p99]
}

/// Clients, servers, and a Service for each way with and without ejection, all over the same servers, served by the agent.
fn furnish(world: &World) -> Result<(Vec<Pod>, Vec<Pod>)> {
    let clients = (0..CLIENTS).map(|n| world.pod(&format!("client-{n}"))).collect::<Result<Vec<_>>>()?;
    let mut backends =
        (1..=4).map(|n| world.backend(&format!("quick-{n}"), &[Listen::tcp(TARGET)])).collect::<Result<Vec<_>>>()?;
    let slow = world.pod("slow")?;
    slow.serve_after(DELAY, &[Listen::tcp(TARGET)])?;
    backends.push(slow);
    let detection = json!({
        "consecutiveFailures": 5, "slowAnswerPercent": 300, "baseEjectionSeconds": 600, "maxEjectionSeconds": 600,
    });
    let mut number = 0;
    for (_, balancer) in ways() {
        for ejecting in [false, true] {
            let name = services::name(number);
            let ip = services::cluster_ip(number).to_string();
            world.apply(&manifest::service(&name).cluster_ip(&ip).tcp(PORT, TARGET).yaml())?;
            world.apply(&manifest::slice(&name).tcp(TARGET).endpoints(&backends).yaml())?;
            let mut wishes = json!({"loadBalancer": balancer});
            if ejecting {
                wishes["outlierDetection"] = detection.clone();
            }
            world.apply(&manifest::policy(("default", &name), &name, wishes).to_string())?;
            number += 1;
        }
    }
    world.agent().start()?;
    let last = services::name(number - 1);
    wait_for("all Services to be served", || {
        let service = world.agent().service("default", &last)?;
        ensure!(service["algorithm"] == "Maglev", "{service}");
        Ok(())
    })?;
    Ok((clients, backends))
}

impl Job {
    /// In the first client's pod; its threads go on to the others' networks.
    pub fn run(self) -> Result<Run> {
        // Every thread is there before the first request is due.
        let start = Instant::now() + Duration::from_millis(100);
        let shares: Vec<Result<Run>> = thread::scope(|scope| {
            let share = |client| {
                let job = &self;
                scope.spawn(move || job.share(client, start))
            };
            let threads: Vec<_> = (0..self.clients.len()).map(share).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let mut run = Run::default();
        for share in shares {
            let share = share?;
            run.latencies.extend(share.latencies);
            run.slow += share.slow;
        }
        Ok(run)
    }

    /// The requests of one client.
    fn share(&self, client: usize, start: Instant) -> Result<Run> {
        let netns = File::open(&self.clients[client]).context("open a client's network namespace")?;
        setns(&netns, CloneFlags::CLONE_NEWNET).context("enter a client's network namespace")?;
        let mut run = Run::default();
        for request in (client as u32..self.requests).step_by(self.clients.len()) {
            let due = start + self.pace * request;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let server = ask(self.to).with_context(|| format!("ask {}", self.to))?;
            run.latencies.push(due.elapsed().as_nanos() as u64);
            run.slow += u32::from(server.starts_with("slow "));
        }
        Ok(run)
    }
}

/// Connects, asks, and closes.
fn ask(to: SocketAddrV4) -> Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(b"who\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    ensure!(!answer.is_empty(), "no answer");
    Ok(answer)
}
