//! The traffic: clients that visit every Service, one after the other, for as long as the lab is up.

use mesh_tests::client::Client;
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two visits of a client: enough traffic to see, and enough machine left for everything else.
const PACE: Duration = Duration::from_millis(2);

/// A visit's Service and who answered, or the error; and the client.
pub type Place = (String, String, String);

/// What the clients saw.
#[derive(Clone, Default, Debug)]
pub struct Visits {
    /// Answers by Service, backend and client.
    pub reached: BTreeMap<Place, u64>,
    /// Failures by Service, error and client.
    pub failures: BTreeMap<Place, u64>,
    /// Visits by frontend, answered or not.
    pub by_frontend: BTreeMap<Frontend, u64>,
}

impl Visits {
    /// Answers from one backend of a Service.
    pub fn answers(&self, service: &str, backend: &str) -> u64 {
        let here = self.reached.iter().filter(|((s, b, _), _)| s == service && b == backend);
        here.map(|(_, times)| times).sum()
    }

    /// All answers.
    pub fn answered(&self) -> u64 {
        self.reached.values().sum()
    }

    /// The fewest visits that any of these frontends had.
    pub fn fewest(&self, frontends: &[Frontend]) -> u64 {
        frontends.iter().map(|f| self.by_frontend.get(f).copied().unwrap_or_default()).min().unwrap_or_default()
    }

    /// `Ok` when nothing failed, else what did.
    pub fn none_failed(&self) -> Result<(), String> {
        let failed =
            self.failures.iter().map(|((service, error, client), n)| format!("{n} x {client} to {service}: {error}"));
        let failed: Vec<_> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

/// Clients that are at it.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Held by a client during a visit; whoever takes it for writing has silence.
    gate: RwLock<()>,
    frontends: Mutex<Vec<Frontend>>,
    since_start: Mutex<Visits>,
    since_taken: Mutex<Visits>,
}

impl Traffic {
    /// Starts the clients, each with its name.
    pub fn start(clients: &[(String, Client)]) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = clients.iter().cloned().map(|(name, client)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.visit_all(&name, &client))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Which frontends are visited from now on. No visit to another one is under way when this returns.
    pub fn visit(&self, frontends: Vec<Frontend>) {
        let _silence = self.pause();
        *lock(&self.shared.frontends) = frontends;
    }

    /// Silence for as long as this is held: no visit is under way.
    pub fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.shared.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything since the start.
    pub fn all(&self) -> Visits {
        lock(&self.shared.since_start).clone()
    }

    /// What was seen since [`Traffic::forget`].
    pub fn recent(&self) -> Visits {
        lock(&self.shared.since_taken).clone()
    }

    /// Begins anew to count what [`Traffic::recent`] gives.
    pub fn forget(&self) {
        *lock(&self.shared.since_taken) = Visits::default();
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic was printed.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn visit_all(&self, name: &str, client: &Client) {
        for turn in 0_usize.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            {
                let _visiting = self.gate.read().unwrap_or_else(PoisonError::into_inner);
                let frontends = lock(&self.frontends).clone();
                if let Some(frontend) = frontends.get(turn % frontends.len().max(1)) {
                    self.note(name, frontend, &visit(client, frontend));
                }
            }
            thread::sleep(PACE);
        }
    }

    fn note(&self, client: &str, frontend: &Frontend, outcome: &io::Result<String>) {
        let service = format!("{}/{}", frontend.service.namespace, frontend.service.name);
        for visits in [&self.since_start, &self.since_taken] {
            let mut visits = lock(visits);
            let Visits { reached, failures, by_frontend } = &mut *visits;
            *by_frontend.entry(frontend.clone()).or_default() += 1;
            match outcome {
                Ok(server) => *reached.entry((service.clone(), server.clone(), client.to_owned())).or_default() += 1,
                Err(error) => {
                    *failures.entry((service.clone(), error.to_string(), client.to_owned())).or_default() += 1;
                }
            }
        }
    }
}

/// One connection, one question, and who answered.
fn visit(client: &Client, frontend: &Frontend) -> io::Result<String> {
    let tally = match frontend.transport {
        Transport::Tcp => client.tally(frontend.address, 1)?,
        Transport::Udp => client.tally_udp(frontend.address, 1)?,
    };
    match (tally.answers.into_keys().next(), tally.errors.into_keys().next()) {
        (Some(server), _) => Ok(server),
        (None, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
        (None, None) => Err(io::Error::other("no answer")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
