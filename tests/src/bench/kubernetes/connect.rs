//! connect() directly to an endpoint, by mesh, and by kube-proxy, call by call in turn.

use super::ENDPOINTS;
use super::rig::{Rig, Side};
use crate::Effort;
use crate::connect::{resetting_socket, time_connect};
use crate::ears::{Backend, Ears};
use crate::inside::{self, Pick, Sequence};
use crate::priority::{self, Breath};
use crate::report::{Limit, Section, Target};
use crate::services::{self, TARGET, endpoint_at};
use crate::spread::{Spread, quantile};
use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use socket2::Socket;
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// Where sockets are made.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    netns: PathBuf,
    cgroup: PathBuf,
}

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// For direct connections, those by mesh, and those by kube-proxy.
    places: [Place; 3],
    /// Of mesh's world, where direct connections go, too, and of kube-proxy's.
    backends: [Vec<Backend>; 2],
    pick: Pick,
    rounds: u32,
    /// Connections of each kind in a round, a multiple of [`BATCH`].
    connects: u32,
}

/// Sockets of each kind that are made at once: moving between cgroups takes longer than a connect.
const BATCH: u32 = 100;

/// One round: median and 99th percentile in ns, direct, by mesh, by kube-proxy.
pub type Round = [(u64, u64); 3];

/// The table of all sizes.
pub fn section() -> Section {
    Section::new(
        "connect() directly, by mesh, and by kube-proxy",
        "TCP from a client's pod to ten backends' pods over veth pairs, each pod routed by the node. Two nodes of the same \
         shape, one that mesh serves and one that kube-proxy (nftables) serves. One thread connects to an endpoint from a \
         cgroup that mesh does not cover, to that endpoint's Service by mesh, and to the same Service by kube-proxy in turn, \
         accepts itself, and resets; only connect() is timed. The ratios are of the medians of each round.",
        &[
            "Services",
            "picked",
            "direct p50, ns",
            "mesh / direct",
            "kube-proxy / direct",
            "mesh p99 / direct",
            "kube-proxy p99 / direct",
        ],
    )
}

/// At the present number of Services, one of them and all of them.
pub fn measure(rig: &Rig, effort: Effort, count: u32, section: &mut Section) -> Result<()> {
    let (rounds, connects) = effort.pick((2, 200), (11, 5_000));
    for pick in [Some(Pick::Hot), (count > 1).then_some(Pick::Uniform(count))].into_iter().flatten() {
        let uncovered = rig.meshed.world.cgroup().parent().context("pods have a cgroup in their world's")?;
        let direct = Place { netns: rig.meshed.client.netns().path().to_owned(), cgroup: uncovered.to_owned() };
        let job = Job {
            places: [direct, Place::of(&rig.meshed), Place::of(&rig.proxied)],
            backends: [rig.meshed.backends()?, rig.proxied.backends()?],
            pick,
            rounds,
            connects,
        };
        let measured: Vec<Round> = inside::run(&rig.meshed.client, &inside::Job::ThreeWays(job))?;
        report(section, count, pick, &measured)?;
    }
    Ok(())
}

fn report(section: &mut Section, count: u32, pick: Pick, rounds: &[Round]) -> Result<()> {
    let picked = if pick == Pick::Hot { "one, hot" } else { "all, uniformly" };
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let spread = |figure: &dyn Fn(&Round) -> (u64, u64)| {
        let figures = rounds.iter().map(|round| {
            let (over, under) = figure(round);
            over as f64 / under as f64
        });
        Spread::of(figures).context("no round")
    };
    let [mesh, proxy] = [spread(&|r| (r[1].0, r[0].0))?, spread(&|r| (r[2].0, r[0].0))?];
    section.row(vec![
        count.to_string(),
        picked.to_owned(),
        spread(&|r| (r[0].0, 1))?.to_string(),
        format!("{mesh:.3}"),
        format!("{proxy:.3}"),
        format!("{:.3}", spread(&|r| (r[1].1, r[0].1))?),
        format!("{:.3}", spread(&|r| (r[2].1, r[0].1))?),
    ]);
    let what = format!("connect() by mesh over connect() by kube-proxy, p50, {count} Services, {picked}");
    let over = spread(&|r| (r[1].0, r[2].0))?;
    section.target(Target::new(what, Limit::AtMost(1.0), over.median, ""));
    Ok(())
}

impl Job {
    /// In the client's pod of the world that mesh serves.
    pub fn run(self) -> Result<Vec<Round>> {
        let [meshed, proxied] = &self.backends;
        let ears = [Ears::open(meshed)?, Ears::open(proxied)?];
        if let Err(error) = priority::raise() {
            eprintln!("measuring at ordinary priority: {error:#}");
        }
        let (mut sequence, mut breath) = (Sequence::new(), Breath::new());
        // The first round warms up.
        let rounds = (0..=self.rounds).map(|_| self.round(&ears, &mut sequence, &mut breath));
        let mut rounds = rounds.collect::<Result<Vec<_>>>()?;
        rounds.remove(0);
        Ok(rounds)
    }

    fn round(&self, ears: &[Ears; 2], sequence: &mut Sequence, breath: &mut Breath) -> Result<Round> {
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..self.connects / BATCH {
            let mut made = [const { Vec::new() }; 3];
            for (place, made) in self.places.iter().zip(&mut made) {
                place.enter()?;
                *made = sockets(BATCH)?;
            }
            for turn in 0..BATCH as usize {
                // Number 0 is not there: its address is the API server's.
                let service = 1 + sequence.service(self.pick);
                let endpoint = endpoint_at(service, sequence.below(u32::from(ENDPOINTS)) as u8);
                for kind in 0..3 {
                    let kind = (kind + turn) % 3;
                    let to = if kind == 0 { SocketAddrV4::new(endpoint, TARGET) } else { services::frontend(service) };
                    let socket = made[kind].pop().context("a socket for each connect")?;
                    samples[kind].push(time_connect(socket, to, &ears[kind / 2])?);
                }
                breath.take();
            }
        }
        Ok(samples.map(|mut samples| (quantile(&mut samples, 0.5), quantile(&mut samples, 0.99))))
    }
}

impl Place {
    /// The client's pod.
    fn of(side: &Side) -> Self {
        Self { netns: side.client.netns().path().to_owned(), cgroup: side.client.cgroup().path().to_owned() }
    }

    /// Sockets that are made from now on belong here.
    fn enter(&self) -> Result<()> {
        let entrance = self.cgroup.join("cgroup.procs");
        fs::write(&entrance, "0").with_context(|| format!("enter {}", entrance.display()))?;
        let namespace = File::open(&self.netns).with_context(|| self.netns.display().to_string())?;
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter a client's network namespace")
    }
}

fn sockets(count: u32) -> Result<Vec<Socket>> {
    (0..count).map(|_| resetting_socket()).collect()
}
