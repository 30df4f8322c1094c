//! From a change of an `EndpointSlice` in the API server to its effect on connect().

use super::load;
use super::rig::{Rig, Side};
use super::start::endpoints;
use crate::Effort;
use crate::ears::{Backend, Ears};
use crate::inside;
use crate::manifests::slice;
use crate::report::{Limit, Section, Target};
use crate::services::{self, frontend};
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    kubeconfig: PathBuf,
    /// The network namespace that the API server is in.
    netns: PathBuf,
    backends: Vec<Backend>,
    service: u32,
    changes: u32,
}

/// One change, in ns from before the request was sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Until the API server had answered.
    answered: u64,
    /// Until the first connect that shows it.
    effect: u64,
}

/// How long a change may take before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// With all Services loaded, kube-proxy and then mesh; kube-proxy, which writes its rules anew at every change, has ended
/// by then, and its rules are still there.
pub fn measure(rig: &Rig, effort: Effort, count: u32) -> Result<Section> {
    let mut section = Section::new(
        "From a change in the API to its effect",
        "A client of one Service sends the API server that Service's `EndpointSlice`, with its endpoints or with none, and \
         connects (TCP) every 20 us until it is let through or refused. From before the request is sent to the first \
         connect that shows the change. *Answered*: how much of that passed until the API server, which stores the change \
         before it tells anybody, had answered the request. *After*: from that answer to the effect; below 0 the effect was \
         first. While mesh is measured kube-proxy does not run: it would take a processor for a second at every change. \
         While kube-proxy is measured, mesh does.",
        &[
            "",
            "Services",
            "endpoints",
            "changes",
            "p50, ms",
            "p90",
            "p99",
            "most",
            "answered, p50",
            "p99",
            "after, p50",
            "p99",
        ],
    );
    let sides = [("kube-proxy", &rig.proxied, effort.pick(4, 60)), ("mesh", &rig.meshed, effort.pick(20, 500))];
    for (who, side, changes) in sides {
        if who == "mesh" {
            rig.proxy.end();
        }
        let samples = run(rig, side, count, changes)?;
        let mut row = vec![who.to_owned(), count.to_string(), endpoints(count), changes.to_string()];
        let [p50, p90, p99, most] = milliseconds(&samples, |sample| sample.effect);
        let [answered, _, slowest, _] = milliseconds(&samples, |sample| sample.answered);
        let [after, _, last, _] =
            milliseconds(&samples, |sample| sample.effect.cast_signed() - sample.answered.cast_signed());
        row.extend([p50, p90, p99, most, answered, slowest, after, last].map(|ms| format!("{ms:.2}")));
        section.row(row);
        if who == "mesh" {
            let what = format!("a change in the API in force with {count} Services, p99");
            section.target(Target::new(what, Limit::AtMost(10.0), p99, " ms"));
        }
    }
    Ok(section)
}

fn run(rig: &Rig, side: &Side, service: u32, changes: u32) -> Result<Vec<Sample>> {
    let job = Job {
        kubeconfig: rig.api.kubeconfig().to_owned(),
        netns: rig.api.place().netns().path().to_owned(),
        backends: side.backends()?,
        service,
        changes,
    };
    inside::run(&side.client, &inside::Job::ApiChange(job))
}

fn milliseconds<T: Ord + Copy + Into<i128>>(samples: &[Sample], figure: impl Fn(&Sample) -> T) -> [f64; 4] {
    let mut figures: Vec<T> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "few samples, of far fewer than 2^52 ns")]
    [0.5, 0.9, 0.99, 1.0].map(|share| {
        let index = ((figures.len() as f64 * share) as usize).min(figures.len().saturating_sub(1));
        figures.get(index).map_or(0.0, |figure| (*figure).into() as f64 / 1e6)
    })
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<Sample>> {
        let ears = Ears::open(&self.backends)?;
        let (writes, asked) = channel();
        let (tell, answers) = channel();
        let frontend = frontend(self.service);
        let changes = self.changes;
        thread::scope(|scope| {
            let this = &self;
            let requests = scope.spawn(move || this.write(&asked, &tell));
            let measured = (1..=changes).map(|change| {
                let serve = change.is_multiple_of(2);
                // Changes that come one upon the other would be taken in together.
                thread::sleep(Duration::from_millis(5));
                let started = Instant::now();
                if writes.send(serve).is_err() {
                    bail!("the writer has ended");
                }
                while is_served(frontend, &ears)? != serve {
                    ensure!(started.elapsed() < PATIENCE, "a change had no effect in {} s", PATIENCE.as_secs());
                    thread::sleep(Duration::from_micros(20));
                }
                let effect = started.elapsed().as_nanos() as u64;
                let answered: Instant = answers.recv().context("the writer has ended")?;
                Ok(Sample { answered: (answered - started).as_nanos() as u64, effect })
            });
            let measured: Result<Vec<Sample>> = measured.collect();
            drop(writes);
            requests.join().expect("it does not panic").context("write to the API server")?;
            measured
        })
    }

    /// Writes what it is asked to, on a thread where the API server is.
    fn write(&self, asked: &Receiver<bool>, tell: &Sender<Instant>) -> Result<()> {
        let namespace = File::open(&self.netns).with_context(|| self.netns.display().to_string())?;
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter the API server's network namespace")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let texts = [&[][..], &load::endpoints(self.service)].map(|endpoints| slice(self.service, "TCP", endpoints));
        let name = format!("{}-1", services::name(self.service));
        runtime.block_on(async {
            let file = Kubeconfig::read_from(&self.kubeconfig).context("read the kubeconfig")?;
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            let api = Api::<EndpointSlice>::namespaced(kube::Client::try_from(config)?, "bench");
            while let Ok(serve) = asked.recv() {
                let patch = Patch::Merge(&texts[usize::from(serve)]);
                api.patch(&name, &PatchParams::default(), &patch).await?;
                // Nobody listens when the client has given up.
                tell.send(Instant::now()).ok();
            }
            Ok(())
        })
    }
}

fn is_served(frontend: SocketAddrV4, ears: &Ears) -> Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("make a socket")?;
    socket.set_linger(Some(Duration::ZERO)).context("reset at close")?;
    match socket.connect(&frontend.into()) {
        Ok(()) => ears.accept().map(|_| true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error).with_context(|| format!("connect to {frontend}")),
    }
}
