//! From the change of a policy's file to the first connection that shows it, for each kind of parameter.

use crate::Effort;
use crate::ears::Backend;
use crate::fill::ENDPOINTS;
use crate::inside;
use crate::manifests;
use crate::report::{Limit, Section, Target};
use crate::services::{self, TARGET};
use crate::spread::quantile;
use anyhow::{Context, Result, bail, ensure};
use mesh_tests::manifest::policy;
use mesh_tests::world::{Pod, World};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The policy's file.
    file: PathBuf,
    /// Where a new text is written before it takes the file's place; on the same file system, not watched.
    draft: PathBuf,
    /// Its texts, and what each shows.
    texts: [(String, Shows); 2],
    frontend: SocketAddrV4,
    backends: Vec<Backend>,
    changes: u32,
}

/// What connections do under a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Shows {
    /// They are refused.
    Refusal,
    /// They reach anybody.
    Anybody,
    /// They reach the backend with this number.
    Only(usize),
    /// They reach the backend that the last one reached.
    TheSame,
    /// They reach another backend than the last one.
    Another,
}

/// How long a change may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each kind: its name, and the two policies between which it goes back and forth.
fn kinds() -> [(&'static str, [(Value, Shows); 2]); 3] {
    let weights = |one: u32, other: u32| {
        let weight = |pod: &str, weight: u32| json!({"podNamePrefix": pod, "weight": weight});
        json!({"loadBalancer": {"weights": [weight("backend-0", one), weight("backend-1", other)]}})
    };
    let algorithm = |name: &str| json!({"loadBalancer": {"algorithm": name}});
    let limit = |most: u32| json!({"limits": {"maxConnections": most}});
    [
        ("a limit", [(limit(0), Shows::Refusal), (limit(5), Shows::Anybody)]),
        ("the algorithm", [(algorithm("Maglev"), Shows::TheSame), (algorithm("RoundRobin"), Shows::Another)]),
        ("weights", [(weights(0, 1), Shows::Only(1)), (weights(1, 0), Shows::Only(0))]),
    ]
}

/// With all other Services loaded.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "From a change of a policy's file to its effect",
        "The `TrafficPolicy` of one Service with two backends is replaced by another, over and over: `maxConnections` 0 and 5, \
         `Maglev` and `RoundRobin`, weights 0 to 1 and 1 to 0. A client connects (UDP) and sends a byte every 20 us until \
         a connection does what only the new policy makes it do. From before the write to that connection.",
        &["Services", "what changes", "changes", "p50, ms", "p90", "p99", "most"],
    );
    let (count, changes) = effort.pick((200, 30), (10_000, 400));
    let world = World::named("mesh-bench")?;
    let (client, pods) = (world.pod("client")?, [world.pod("backend-0")?, world.pod("backend-1")?]);
    manifests::write(&world, 1, count)?;
    world.manifests().write("changing.yaml", &manifests::yaml(&manifests::service(0, "UDP"))?)?;
    let backends = pods.iter().map(backend).collect::<Result<Vec<_>>>()?;
    let mut slice = manifests::slice(0, "UDP", &backends.iter().map(|of| of.address).collect::<Vec<_>>());
    for (endpoint, pod) in slice["endpoints"].as_array_mut().into_iter().flatten().zip(&pods) {
        endpoint["targetRef"] = json!({"kind": "Pod", "namespace": "bench", "name": pod.name()});
    }
    world.manifests().write("changing-endpoints.yaml", &manifests::yaml(&slice)?)?;
    manifests::start_agent(&world, count)?;
    for (name, texts) in kinds() {
        let text = |(wishes, shows): (Value, Shows)| {
            let object = policy(("bench", "changing"), &services::name(0), wishes);
            anyhow::Ok((manifests::yaml(&object)?, shows))
        };
        let [one, other] = texts.map(text);
        let job = Job {
            file: world.manifests().directory().join("changing-policy.yaml"),
            draft: world.home().path("draft.yaml"),
            texts: [one?, other?],
            frontend: services::frontend(0),
            backends: backends.clone(),
            changes,
        };
        let mut samples: Vec<u64> = inside::run(&client, &inside::Job::Parameter(job))?;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
        let mut ms = |share| quantile(&mut samples, share) as f64 / 1e6;
        let p99 = ms(0.99);
        let mut row = vec![count.to_string(), name.to_owned(), changes.to_string()];
        row.extend([ms(0.5), ms(0.9), p99, ms(1.0)].map(|ms| format!("{ms:.2}")));
        section.row(row);
        let what = format!("{name} in force with {count} Services ({} endpoints), p99", (count - 1) * ENDPOINTS);
        section.target(Target::new(what, Limit::AtMost(10.0), p99, " ms"));
    }
    Ok(section)
}

fn backend(pod: &Pod) -> Result<Backend> {
    let IpAddr::V4(address) = pod.v4() else { bail!("{} has no IPv4 address", pod.name()) };
    Ok(Backend { netns: pod.netns().path().to_owned(), address })
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<u64>> {
        let ears = self.listen()?;
        // The first two are not counted: before them another policy was in force, or none.
        let changes = (0..self.changes + 2).map(|change| self.change(&ears, &self.texts[change as usize % 2]));
        Ok(changes.collect::<Result<Vec<_>>>()?.split_off(2))
    }

    /// A socket in each backend's pod, all of this thread, so that no other has to wake up.
    fn listen(&self) -> Result<Vec<UdpSocket>> {
        let home = File::open("/proc/thread-self/ns/net").context("open the own network namespace")?;
        let sockets = self.backends.iter().map(|backend| {
            let namespace = File::open(&backend.netns).with_context(|| backend.netns.display().to_string())?;
            setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter a backend's network namespace")?;
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, TARGET)).context("listen as a backend")?;
            socket.set_nonblocking(true).context("do not block")?;
            Ok(socket)
        });
        let sockets = sockets.collect();
        setns(&home, CloneFlags::CLONE_NEWNET).context("come back to the client's network namespace")?;
        sockets
    }

    fn change(&self, ears: &[UdpSocket], (text, expected): &(String, Shows)) -> Result<u64> {
        // Changes that come one upon the other would be taken in together.
        thread::sleep(Duration::from_millis(3));
        let mut last = self.reached(ears)?;
        let started = Instant::now();
        fs::write(&self.draft, text).context("write the draft")?;
        fs::rename(&self.draft, &self.file).context("put the draft in place")?;
        loop {
            let now = self.reached(ears)?;
            let is_shown = match expected {
                Shows::Refusal => now.is_none(),
                Shows::Anybody => now.is_some(),
                Shows::Only(number) => now == Some(*number),
                Shows::TheSame => now.is_some() && now == last,
                Shows::Another => now.is_some() && now != last,
            };
            if is_shown {
                return Ok(started.elapsed().as_nanos() as u64);
            }
            ensure!(started.elapsed() < PATIENCE, "a change had no effect in {} s", PATIENCE.as_secs());
            last = now;
            thread::sleep(Duration::from_micros(20));
        }
    }

    /// The backend that a connection reaches; `None` when it is refused.
    fn reached(&self, ears: &[UdpSocket]) -> Result<Option<usize>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("make a socket")?;
        match socket.connect(self.frontend) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
            connected => connected.with_context(|| format!("connect to {}", self.frontend))?,
        }
        socket.send(b"x").context("send a byte")?;
        let sent = Instant::now();
        loop {
            for (number, ear) in ears.iter().enumerate() {
                match ear.recv(&mut [0; 8]) {
                    Ok(_) => return Ok(Some(number)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("receive as a backend"),
                }
            }
            ensure!(sent.elapsed() < PATIENCE, "a byte reached no backend");
        }
    }
}
