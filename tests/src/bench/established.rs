//! Round trips and throughput of connections that are open: through a Service against direct.

use crate::Effort;
use crate::bed::Bed;
use crate::ears::{Backend, Ears};
use crate::inside;
use crate::priority::{self, Breath};
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::Spread;
use anyhow::{Context, Result, ensure};
use mesh_common::address::Protocol;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    backends: Vec<Backend>,
    rounds: u32,
    /// Turns of each side in a round.
    turns: u32,
}

/// One round: ns of each side.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Round {
    round_trips: Sides,
    throughput: Sides,
}

/// How long the same work took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Sides {
    direct: u64,
    service: u64,
}

/// Round trips in one turn.
const ROUND_TRIPS: u32 = 50;
/// Bytes in one turn, and in one write.
const BYTES: usize = 1 << 20;
const CHUNK: usize = 1 << 16;

/// With new connections in each round, so that where the kernel happens to place them evens out.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Established connections",
        "One thread holds both ends of two connections to the same pod, one made through a Service, and lets them work in \
         turn: a byte to the backend and back; a mebibyte in writes of 64 KiB. No other thread has to wake up, so these \
         figures are the path's own. New connections in each round. Ratios are of rates: above 1 the Service was faster.",
        &["work", "direct", "through a Service", "ratio of rates"],
    );
    let mut bed = Bed::make()?;
    bed.attach()?;
    bed.fill_to(1, Protocol::Tcp)?;
    let (rounds, turns) = effort.pick((3, 20), (21, 400));
    let job = inside::Job::Established(Job { backends: bed.backends()?, rounds, turns });
    let measured: Vec<Round> = inside::run(&bed.client, &job)?;
    let turns = f64::from(turns);
    let per_trip = |ns: f64| ns / turns / f64::from(ROUND_TRIPS) / 1000.0;
    report(&mut section, "round trip, us", "round trips", &measured, |round| round.round_trips, per_trip)?;
    #[expect(clippy::cast_precision_loss, reason = "a mebibyte")]
    let rate = |ns: f64| turns * BYTES as f64 / ns;
    report(&mut section, "throughput, GB/s", "throughput", &measured, |round| round.throughput, rate)?;
    Ok(section)
}

fn report(
    section: &mut Section,
    what: &str,
    name: &str,
    rounds: &[Round],
    sides: impl Fn(&Round) -> Sides,
    figure: impl Fn(f64) -> f64,
) -> Result<()> {
    let spread =
        |side: &dyn Fn(Sides) -> f64| Spread::of(rounds.iter().map(|round| side(sides(round)))).context("no round");
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let ratio = spread(&|sides| sides.direct as f64 / sides.service as f64)?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let (direct, service) =
        (spread(&|sides| figure(sides.direct as f64))?, spread(&|sides| figure(sides.service as f64))?);
    section.row(vec![what.to_owned(), format!("{direct:.2}"), format!("{service:.2}"), format!("{ratio:.3}")]);
    section.target(Target::new(format!("established, {name}"), Limit::AtLeast(0.99), ratio.median, ""));
    Ok(())
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<Round>> {
        let ears = Ears::open(&self.backends)?;
        if let Err(error) = priority::raise() {
            eprintln!("measuring at ordinary priority: {error:#}");
        }
        (0..self.rounds).map(|_| self.round(&ears)).collect()
    }

    fn round(&self, ears: &Ears) -> Result<Round> {
        let mut service = Pair::connect(services::frontend(0), ears)?;
        // To the pod that the Service chose: pods' links may differ.
        let chosen = SocketAddrV4::new(service.backend()?, services::TARGET);
        let mut direct = Pair::connect(chosen, ears)?;
        let mut breath = Breath::new();
        for pair in [&mut direct, &mut service] {
            pair.round_trips()?;
            pair.stream()?;
        }
        let mut round = Round::default();
        for turn in 0..self.turns {
            let mut sides = [(&mut direct, false), (&mut service, true)];
            if turn % 2 == 1 {
                sides.reverse();
            }
            for (pair, is_service) in sides {
                let (trips, bytes) = (pair.round_trips()?, pair.stream()?);
                let Round { round_trips, throughput } = &mut round;
                for (sides, took) in [(round_trips, trips), (throughput, bytes)] {
                    *if is_service { &mut sides.service } else { &mut sides.direct } += took.as_nanos() as u64;
                }
            }
            breath.take();
        }
        Ok(round)
    }
}

/// Both ends of a connection.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn connect(to: SocketAddrV4, ears: &Ears) -> Result<Self> {
        let client = TcpStream::connect(to).with_context(|| format!("connect to {to}"))?;
        let server = ears.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true).context("send at once")?;
            end.set_nonblocking(true).context("do not block")?;
        }
        Ok(Self { client, server })
    }

    fn backend(&self) -> Result<std::net::Ipv4Addr> {
        match self.server.local_addr().context("ask for the backend's address")?.ip() {
            std::net::IpAddr::V4(v4) => Ok(v4),
            std::net::IpAddr::V6(v6) => anyhow::bail!("{v6} is no IPv4 address"),
        }
    }

    fn round_trips(&mut self) -> Result<Duration> {
        let started = Instant::now();
        for _ in 0..ROUND_TRIPS {
            send_byte(&mut self.client, &mut self.server)?;
            send_byte(&mut self.server, &mut self.client)?;
        }
        Ok(started.elapsed())
    }

    fn stream(&mut self) -> Result<Duration> {
        let mut buffer = vec![0; CHUNK];
        let (mut sent, mut received) = (0, 0);
        let started = Instant::now();
        while received < BYTES {
            if sent < BYTES {
                sent += or_nothing(self.client.write(&buffer[..CHUNK.min(BYTES - sent)]))?;
            }
            match or_nothing(self.server.read(&mut buffer))? {
                0 => await_bytes(&self.server)?,
                read => received += read,
            }
        }
        Ok(started.elapsed())
    }
}

fn send_byte(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    ensure!(from.write(b"x").context("send a byte")? == 1, "a byte was not taken");
    let mut byte = [0];
    while or_nothing(to.read(&mut byte))? == 0 {
        await_bytes(to)?;
    }
    Ok(())
}

/// How much went through; 0 when it would have had to wait.
fn or_nothing(result: std::io::Result<usize>) -> Result<usize> {
    match result {
        Ok(0) => anyhow::bail!("the connection was closed"),
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error).context("use the connection"),
    }
}

fn await_bytes(end: &TcpStream) -> Result<()> {
    let ready = poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5_000_u16));
    ensure!(ready.context("wait for bytes")? == 1, "no byte came in 5 s");
    Ok(())
}
