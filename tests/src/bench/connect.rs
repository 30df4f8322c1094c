//! connect() to a Service against connect() to the pod, TCP, call by call in turn.

use crate::Effort;
use crate::bed::Bed;
use crate::ears::{Backend, Ears};
use crate::inside::{self, Pick, Sequence};
use crate::priority::{self, Breath};
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::{Spread, quantile};
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    backends: Vec<Backend>,
    pick: Pick,
    rounds: u32,
    /// Connections of each side in a round.
    pairs: u32,
}

/// One round, in ns.
#[derive(Debug, Serialize, Deserialize)]
pub struct Round {
    direct: Quantiles,
    service: Quantiles,
}

/// Of one side.
#[derive(Debug, Serialize, Deserialize)]
struct Quantiles {
    p50: u64,
    p99: u64,
}

/// Over 1, 10,000 and 30,000 Services.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "connect() to a Service against connect() to the pod",
        "TCP from a client's pod to three backends' pods over veth pairs and a bridge, with the programs in force for all \
         of them. One thread connects to a pod and to a Service in turn, accepts itself, and resets; only connect() is \
         timed. The ratio is of the two medians of each round.",
        &["Services", "picked", "direct p50, ns", "Service p50, ns", "p50 ratio", "p99 ratio"],
    );
    let mut bed = Bed::make()?;
    bed.attach()?;
    let (rounds, pairs) = effort.pick((3, 500), (11, 10_000));
    for count in effort.pick([1, 100, 300], [1, 10_000, 30_000]) {
        bed.fill_to(count, Protocol::Tcp)?;
        let picks = [Some((Pick::Hot, 1.04)), (count > 1).then_some((Pick::Uniform(count), 1.08))];
        for (pick, limit) in picks.into_iter().flatten() {
            let job = inside::Job::Connect(Job { backends: bed.backends()?, pick, rounds, pairs });
            let measured: Vec<Round> = inside::run(&bed.client, &job)?;
            report(&mut section, count, (pick, limit), &measured)?;
        }
    }
    Ok(section)
}

fn report(section: &mut Section, count: u32, (pick, limit): (Pick, f64), rounds: &[Round]) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let spread = |figure: &dyn Fn(&Round) -> (u64, u64)| {
        let figures = rounds.iter().map(|round| {
            let (over, under) = figure(round);
            over as f64 / under as f64
        });
        Spread::of(figures).context("no round")
    };
    let ratio = spread(&|round| (round.service.p50, round.direct.p50))?;
    let picked = if pick == Pick::Hot { "one, hot" } else { "all, uniformly" };
    section.row(vec![
        count.to_string(),
        picked.to_owned(),
        spread(&|round| (round.direct.p50, 1))?.to_string(),
        spread(&|round| (round.service.p50, 1))?.to_string(),
        format!("{ratio:.3}"),
        format!("{:.3}", spread(&|round| (round.service.p99, round.direct.p99))?),
    ]);
    let what = format!("connect() p50 ratio, {count} Services, {picked}");
    section.target(Target::new(what, Limit::AtMost(limit), ratio.median, ""));
    Ok(())
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<Round>> {
        let ears = Ears::open(&self.backends)?;
        if let Err(error) = priority::raise() {
            eprintln!("measuring at ordinary priority: {error:#}");
        }
        let mut breath = Breath::new();
        let mut sequence = Sequence::new();
        // The first round warms up.
        let rounds = (0..=self.rounds).map(|_| self.round(&ears, &mut sequence, &mut breath));
        let mut rounds = rounds.collect::<Result<Vec<_>>>()?;
        rounds.remove(0);
        Ok(rounds)
    }

    fn round(&self, ears: &Ears, sequence: &mut Sequence, breath: &mut Breath) -> Result<Round> {
        let (mut direct, mut service) = (Vec::new(), Vec::new());
        for _ in 0..self.pairs {
            let backend = &self.backends[sequence.below(self.backends.len() as u32) as usize];
            direct.push(time_connect(resetting_socket()?, backend.at(), ears)?);
            service.push(time_connect(resetting_socket()?, services::frontend(sequence.service(self.pick)), ears)?);
            breath.take();
        }
        Ok(Round { direct: Quantiles::of(&mut direct), service: Quantiles::of(&mut service) })
    }
}

impl Quantiles {
    fn of(samples: &mut [u64]) -> Self {
        Self { p50: quantile(samples, 0.5), p99: quantile(samples, 0.99) }
    }
}

/// A socket that resets its connection at close.
pub fn resetting_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("make a socket")?;
    socket.set_linger(Some(Duration::ZERO)).context("reset at close")?;
    Ok(socket)
}

/// Connects, and resets: nothing of the connection is left. The nanoseconds of `connect()` alone.
pub fn time_connect(socket: Socket, to: SocketAddrV4, ears: &Ears) -> Result<u64> {
    let address = to.into();
    let started = Instant::now();
    let connected = socket.connect(&address);
    let took = started.elapsed();
    connected.with_context(|| format!("connect to {to}"))?;
    let other = ears.accept()?;
    drop(socket);
    drop(other);
    Ok(took.as_nanos() as u64)
}
