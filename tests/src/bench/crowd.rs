//! Many threads on one hot Service, against many threads that connect to the pod: does the Service scale as that does?

use crate::Effort;
use crate::bed::Bed;
use crate::inside;
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::Spread;
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddrV4;
use std::thread;
use std::time::Instant;

/// How many threads are a crowd.
const CROWD: u32 = 64;

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    direct: SocketAddrV4,
    rounds: u32,
    /// Connections of all threads together.
    runs: u32,
}

/// Connections a second: directly and to the Service, by one thread and by the crowd.
#[derive(Debug, Serialize, Deserialize)]
pub struct Round {
    direct: [f64; 2],
    service: [f64; 2],
}

impl Round {
    /// What the crowd gets of the rate of one thread, the Service's part against the direct one.
    fn scaling(&self) -> f64 {
        self.service[1] / self.service[0] / (self.direct[1] / self.direct[0])
    }
}

/// One Service.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "64 threads on one hot Service",
        "UDP connect() and close in a loop, connections a second over all threads; directly and to the Service in turn. \
         Scaling is the crowd's rate over one thread's, the Service's against the direct one.",
        &["threads", "direct, a second", "Service, a second", "Service / direct"],
    );
    let mut bed = Bed::make()?;
    bed.attach()?;
    bed.fill_to(1, Protocol::Udp)?;
    let direct = bed.backends()?.first().context("a backend")?.at();
    let (rounds, runs) = effort.pick((3, 6_400), (11, 32_000));
    let measured: Vec<Round> = inside::run(&bed.client, &inside::Job::Crowd(Job { direct, rounds, runs }))?;
    let spread = |figure: &dyn Fn(&Round) -> f64| Spread::of(measured.iter().map(figure)).context("no round");
    for (index, threads) in [1, CROWD].into_iter().enumerate() {
        section.row(vec![
            threads.to_string(),
            spread(&|round| round.direct[index])?.to_string(),
            spread(&|round| round.service[index])?.to_string(),
            format!("{:.3}", spread(&|round| round.service[index] / round.direct[index])?),
        ]);
    }
    let scaling = spread(&Round::scaling)?;
    section.target(Target::new("scaling of 64 threads against direct", Limit::AtLeast(0.95), scaling.median, ""));
    Ok(section)
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<Round>> {
        let service = services::frontend(0);
        let round = || {
            let mut rates = [[0.0; 2]; 2];
            for (index, threads) in [1, CROWD].into_iter().enumerate() {
                for (rates, to) in rates.iter_mut().zip([self.direct, service]) {
                    rates[index] = rate(to, threads, self.runs)?;
                }
            }
            let [direct, service] = rates;
            anyhow::Ok(Round { direct, service })
        };
        // The first round warms up.
        let mut rounds = (0..=self.rounds).map(|_| round()).collect::<Result<Vec<_>>>()?;
        rounds.remove(0);
        Ok(rounds)
    }
}

/// Connections a second of so many threads.
fn rate(to: SocketAddrV4, threads: u32, runs: u32) -> Result<f64> {
    let each = runs / threads;
    let work = move || -> Result<()> {
        for _ in 0..each {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("make a socket")?;
            socket.connect(&to.into()).with_context(|| format!("connect to {to}"))?;
        }
        Ok(())
    };
    let started = Instant::now();
    let threads: Vec<_> = (0..threads).map(|_| thread::spawn(work)).collect();
    let threads: Vec<Result<()>> = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect();
    let took = started.elapsed();
    let count = threads.len() as u32 * each;
    threads.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(f64::from(count) / took.as_secs_f64())
}
