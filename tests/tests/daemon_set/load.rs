//! Clients that connect and ask without pause, from pods, and what came of it since somebody last looked.

use anyhow::{Context, Result, bail, ensure};
use mesh_tests::client::{Client, Tally};
use mesh_tests::echo::Transport;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections that a client makes before it tells.
const AT_ONCE: u32 = 10;

/// Between two rounds: enough load to see, and enough machine left for everything else.
const PACE: Duration = Duration::from_millis(20);

/// A client, and whom it asks.
#[derive(Clone, Debug)]
pub struct Asker {
    pub name: &'static str,
    pub client: Client,
    pub transport: Transport,
    pub to: SocketAddr,
}

/// Load that goes on until it is dropped.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    askers: Vec<(Arc<Mutex<Seen>>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Seen {
    name: &'static str,
    tally: Tally,
    /// Why it stopped to ask.
    ended: Option<String>,
}

impl Load {
    /// Starts it, a thread for each client.
    pub fn start(askers: Vec<Asker>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let start = |asker: Asker| {
            let seen = Arc::new(Mutex::new(Seen { name: asker.name, ..Seen::default() }));
            let (told, over) = (Arc::clone(&seen), Arc::clone(&over));
            let thread = thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = match asker.transport {
                        Transport::Tcp => asker.client.tally(asker.to, AT_ONCE),
                        Transport::Udp => asker.client.tally_udp(asker.to, AT_ONCE),
                    };
                    match asked {
                        Ok(tally) => {
                            lock(&told).tally.add(&tally);
                            thread::sleep(PACE);
                        }
                        Err(error) => {
                            lock(&told).ended = Some(error.to_string());
                            return;
                        }
                    }
                }
            });
            (seen, thread)
        };
        let askers = askers.into_iter().map(start).collect();
        Self { over, askers }
    }

    /// Fails if anything has failed since it was asked last, or somebody has asked nothing; how many were answered.
    pub fn harmless(&self, phase: &str) -> Result<u32> {
        let mut all = 0;
        let mut words = Vec::new();
        for (seen, _) in &self.askers {
            let mut seen = lock(seen);
            let tally = std::mem::take(&mut seen.tally);
            if let Some(why) = &seen.ended {
                bail!("{phase}: {} gave up: {why}", seen.name);
            }
            ensure!(tally.failed() == 0, "{phase}: {} of {} failed: {tally:?}", tally.failed(), seen.name);
            ensure!(tally.answered() > 0, "{phase}: {} asked nothing", seen.name);
            words.push(format!("{} {}", seen.name, tally.answered()));
            all += tally.answered();
        }
        println!("{phase}: 0 failed of {all} ({})", words.join(", "));
        Ok(all)
    }

    /// Ends it, and waits until every client has.
    pub fn stop(mut self) -> Result<()> {
        self.end().context("a client panicked")
    }

    fn end(&mut self) -> Option<()> {
        self.over.store(true, Ordering::Relaxed);
        self.askers.drain(..).try_for_each(|(_, thread)| thread.join().ok())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // One that panicked has said so.
        self.end();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
