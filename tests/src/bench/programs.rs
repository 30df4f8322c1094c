//! What each program takes, by the kernel's own statistics, while a client connects in a loop.

use crate::Effort;
use crate::bed::Bed;
use crate::ears::{Backend, Ears};
use crate::empty::Empty;
use crate::inside::{self, Pick, Sequence};
use crate::priority::{self, Breath};
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::Spread;
use crate::statistics::{self, Counting};
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    to: To,
    /// Listening, where TCP is connected.
    ears: Option<Vec<Backend>>,
    /// Programs by name.
    programs: BTreeMap<String, u32>,
    rounds: u32,
    /// Connections in a round.
    runs: u32,
}

/// Where connections go.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum To {
    /// To Services.
    Services(Pick),
    /// To addresses that are no Service's: always one, or any.
    Elsewhere(Pick),
}

/// Mean ns of each program that ran, a round each.
type Means = BTreeMap<String, Vec<f64>>;

/// The hooks that a connection passes, as the table has them.
const HOOKS: [&str; 4] = ["connect4", "sock_ops", "sock_release", EMPTY];
const EMPTY: &str = "empty";

/// Over 1 and 30,000 Services.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "What each program takes",
        "Mean ns of a run by the kernel's statistics (`BPF_ENABLE_STATS`), while one thread opens a socket, connects and \
         closes in a loop; a round is one mean. The statistics' own cost is in all of them: *empty* is a program of two \
         instructions at the same hook in the same connects.",
        &["protocol", "Services", "to", "connect", "sock_ops", "sock_release", "empty"],
    );
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let mut bed = Bed::make()?;
        let mut programs = bed.attach()?;
        let empty = Empty::attach(bed.client.cgroup().path())?;
        programs.insert(EMPTY.to_owned(), empty.id()?);
        let counts = effort.pick([1, 100, 300], [1, 10_000, 30_000]);
        for count in counts {
            bed.fill_to(count, protocol)?;
            let elsewhere = matches!(protocol, Protocol::Udp);
            let all = [
                Some(To::Services(Pick::Hot)),
                (count > 1).then_some(To::Services(Pick::Uniform(count))),
                elsewhere.then_some(To::Elsewhere(Pick::Hot)),
                (elsewhere && count > 1).then_some(To::Elsewhere(Pick::Uniform(count))),
            ];
            for to in all.into_iter().flatten() {
                let ears = if elsewhere { None } else { Some(bed.backends()?) };
                let (rounds, runs) = effort.pick((3, 1_000), (15, if elsewhere { 20_000 } else { 8_000 }));
                let job = Job { to, ears, programs: programs.clone(), rounds, runs };
                let means: Means = inside::run(&bed.client, &inside::Job::Programs(job))?;
                let limit = match (to, elsewhere, count) {
                    (To::Services(Pick::Hot), true, _) => Some(550.0),
                    (To::Services(Pick::Uniform(_)), true, count) if count == counts[2] => Some(1_200.0),
                    (To::Elsewhere(Pick::Hot), true, 1) => Some(60.0),
                    _ => None,
                };
                report(&mut section, protocol, count, to, &means, limit)?;
            }
        }
    }
    Ok(section)
}

fn report(
    section: &mut Section,
    protocol: Protocol,
    count: u32,
    to: To,
    means: &Means,
    limit: Option<f64>,
) -> Result<()> {
    let spread = |hook: &str| means.get(hook).and_then(|rounds| Spread::of(rounds.iter().copied()));
    let mut row = vec![protocol.to_string(), count.to_string(), to.words().to_owned()];
    row.extend(HOOKS.map(|hook| spread(hook).map_or_else(|| "-".to_owned(), |spread| spread.to_string())));
    section.row(row);
    if let Some(limit) = limit {
        let measured = spread("connect4").context("the connect program did not run")?.median;
        let what = format!("connect program, {protocol}, {count} Services, to {}", to.words());
        section.target(Target::new(what, Limit::AtMost(limit), measured, " ns"));
    }
    Ok(())
}

impl To {
    fn words(self) -> &'static str {
        match self {
            Self::Services(Pick::Hot) => "one, hot",
            Self::Services(Pick::Uniform(_)) => "all, uniformly",
            Self::Elsewhere(Pick::Hot) => "no Service, hot",
            Self::Elsewhere(Pick::Uniform(_)) => "no Service, any address",
        }
    }

    fn next(self, sequence: &mut Sequence) -> SocketAddrV4 {
        match self {
            Self::Services(pick) => services::frontend(sequence.service(pick)),
            // In 198.18.0.0/15, for benchmarks (RFC 2544); a UDP connect sends nothing.
            Self::Elsewhere(pick) => {
                let address = Ipv4Addr::new(198, 18, 0, 1).to_bits() + sequence.service(pick);
                SocketAddrV4::new(Ipv4Addr::from_bits(address), services::PORT)
            }
        }
    }
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Means> {
        let ears = self.ears.as_deref().map(Ears::open).transpose()?;
        if let Err(error) = priority::raise() {
            eprintln!("measuring at ordinary priority: {error:#}");
        }
        let ids: Vec<u32> = self.programs.values().copied().collect();
        let (mut sequence, mut breath) = (Sequence::new(), Breath::new());
        let mut pass = || {
            for _ in 0..self.runs {
                connect(self.to.next(&mut sequence), ears.as_ref())?;
                breath.take();
            }
            anyhow::Ok(())
        };
        pass()?; // warms up
        let _counting = Counting::start()?;
        let mut means = Means::new();
        let mut before = statistics::read(&ids);
        for _ in 0..self.rounds {
            pass()?;
            let after = statistics::read(&ids);
            for (name, id) in &self.programs {
                let (Some(after), Some(before)) = (after.get(id), before.get(id)) else { continue };
                if let Some(mean) = after.mean_since(before) {
                    means.entry(name.clone()).or_default().push(mean);
                }
            }
            before = after;
        }
        Ok(means)
    }
}

/// Connects and closes.
fn connect(to: SocketAddrV4, ears: Option<&Ears>) -> Result<()> {
    let kind = if ears.is_some() { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::IPV4, kind, None).context("make a socket")?;
    if ears.is_some() {
        socket.set_linger(Some(Duration::ZERO)).context("reset at close")?;
    }
    socket.connect(&to.into()).with_context(|| format!("connect to {to}"))?;
    let other = ears.map(Ears::accept).transpose()?;
    drop(socket);
    drop(other);
    Ok(())
}
