//! From the change of one small file to its effect on connect().

use crate::Effort;
use crate::fill::ENDPOINTS;
use crate::inside;
use crate::manifests;
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::quantile;
use anyhow::{Context, Result, ensure};
use mesh_tests::world::World;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What the client's process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The file of the `EndpointSlice`.
    file: PathBuf,
    /// Where a new text is written before it takes the file's place; on the same file system, not watched.
    draft: PathBuf,
    /// Its text without endpoints, and with one.
    texts: [String; 2],
    frontend: SocketAddrV4,
    changes: u32,
}

/// How long a change may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// With all other Services loaded.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "From a file's change to its effect",
        "A client of one Service writes that Service's `EndpointSlice`, with one endpoint or with none, and connects \
         (UDP) every 20 us until it is let through or refused. From before the write to the first connect that shows \
         the change.",
        &["Services", "endpoints", "changes", "p50, ms", "p90", "p99", "most"],
    );
    let (count, changes) = effort.pick((200, 50), (10_000, 1_000));
    let world = World::named("mesh-bench")?;
    let client = world.pod("client")?;
    manifests::write(&world, 1, count)?;
    world.manifests().write("changing.yaml", &manifests::yaml(&manifests::service(0, "UDP"))?)?;
    let text = |endpoints: &[Ipv4Addr]| manifests::yaml(&manifests::slice(0, "UDP", endpoints));
    let job = Job {
        file: world.manifests().directory().join("changing-endpoints.yaml"),
        draft: world.home().path("draft.yaml"),
        texts: [text(&[])?, text(&[services::endpoint(0, 0, ENDPOINTS)])?],
        frontend: services::frontend(0),
        changes,
    };
    fs::write(&job.file, &job.texts[0]).context("write the EndpointSlice")?;
    manifests::start_agent(&world, count)?;
    let mut samples: Vec<u64> = inside::run(&client, &inside::Job::Change(job))?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 ns")]
    let mut ms = |share| quantile(&mut samples, share) as f64 / 1e6;
    let (p50, p99) = (ms(0.5), ms(0.99));
    let mut row = vec![count.to_string(), ((count - 1) * ENDPOINTS).to_string(), changes.to_string()];
    row.extend([p50, ms(0.9), p99, ms(1.0)].map(|ms| format!("{ms:.2}")));
    section.row(row);
    for (name, measured) in [("p50", p50), ("p99", p99)] {
        let what = format!("a change in force with {count} Services, {name}");
        section.target(Target::new(what, Limit::AtMost(10.0), measured, " ms"));
    }
    Ok(section)
}

impl Job {
    /// In the client's pod.
    pub fn run(self) -> Result<Vec<u64>> {
        (1..=self.changes).map(|change| self.change(change % 2 == 1)).collect()
    }

    /// Makes the Service serve or refuse.
    fn change(&self, serve: bool) -> Result<u64> {
        // Changes that come one upon the other would be taken in together.
        thread::sleep(Duration::from_millis(3));
        let started = Instant::now();
        fs::write(&self.draft, &self.texts[usize::from(serve)]).context("write the draft")?;
        fs::rename(&self.draft, &self.file).context("put the draft in place")?;
        while self.is_served()? != serve {
            ensure!(started.elapsed() < PATIENCE, "a change had no effect in {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_micros(20));
        }
        Ok(started.elapsed().as_nanos() as u64)
    }

    fn is_served(&self) -> Result<bool> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("make a socket")?;
        match socket.connect(&self.frontend.into()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
            Err(error) => Err(error).with_context(|| format!("connect to {}", self.frontend)),
        }
    }
}
