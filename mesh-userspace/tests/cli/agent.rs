//! An agent whose state is canned, and the binary that asks it.

use crate::answers;
use mesh_userspace::api::query::{EventFeed, ExplainTarget};
use mesh_userspace::api::types::{Event, Failure, Health, PolicyDetail, Service, Status};
use mesh_userspace::api::{Query, server};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc};

/// What the canned agent answers; a test changes it while the agent runs.
pub struct State {
    pub status: Status,
    pub services: Vec<Service>,
    pub events: broadcast::Sender<Arc<Event>>,
}

/// A server on its own thread; it ends, and its socket goes, when it is dropped.
pub struct Agent {
    folder: TempDir,
    state: Arc<Mutex<State>>,
    shutdown: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// An agent in good health.
    pub fn new() -> Self {
        Self::start(TempDir::new().unwrap())
    }

    fn start(folder: TempDir) -> Self {
        let state = Arc::new(Mutex::new(State {
            status: answers::status(),
            services: answers::services(),
            events: broadcast::channel(16).0,
        }));
        let (shutdown, mut asked) = mpsc::channel::<()>(1);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, owned) = (folder.path().join("mesh.sock"), Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = server::bind(&path).unwrap();
                ready.send(()).unwrap();
                let (queries, mut incoming) = mpsc::channel(8);
                let answers = async {
                    while let Some(query) = incoming.recv().await {
                        answer(query, &owned.lock().unwrap());
                    }
                };
                tokio::select! {
                    result = server::serve(listener, queries, std::future::pending()) => result.unwrap(),
                    () = answers => {}
                    _ = asked.recv() => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { folder, state, shutdown: Some(shutdown), thread: Some(thread) }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("mesh.sock")
    }

    /// Changes what it answers.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// Ends it as SIGKILL would: the socket's file stays. Gives back the folder for another agent on the same socket.
    pub fn kill(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }

    /// Another agent on the socket of a former one.
    pub fn again(folder: TempDir) -> Self {
        Self::start(folder)
    }

    /// Runs `mesh` with this agent's socket to its end.
    pub fn mesh(&self, line: &str) -> Output {
        mesh(&format!("{line} --socket {}", self.socket().display()))
    }

    fn end(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

fn answer(query: Query, state: &State) {
    // A failed send: the asker is gone.
    match query {
        Query::Status(reply) => drop(reply.send(state.status.clone())),
        Query::Vitals(reply) => drop(reply.send(answers::vitals(&state.status))),
        Query::Figures(reply) => drop(reply.send(Box::new(answers::figures(&state.status)))),
        Query::Alive(reply) => drop(reply.send(())),
        Query::Services(scope, reply) => {
            let services = state.services.iter().filter(|service| scope.holds(&service.namespace));
            drop(reply.send(services.cloned().collect()));
        }
        Query::Policies(scope, reply) => {
            let policies = answers::policies().into_iter().map(|detail| detail.policy);
            drop(reply.send(policies.filter(|policy| scope.holds(&policy.namespace)).collect()));
        }
        Query::Policy(namespace, name, reply) => {
            let wanted = answers::policies().into_iter();
            let is_it = |d: &PolicyDetail| (&d.policy.namespace, &d.policy.name) == (&namespace, &name);
            drop(reply.send(wanted.filter(is_it).collect()));
        }
        Query::Service(namespace, name, reply) => {
            drop(reply.send(
                Some(answers::detail()).filter(|d| (&d.service.namespace, &d.service.name) == (&namespace, &name)),
            ));
        }
        Query::Backends(scope, reply) => {
            let backends = answers::backends().into_iter().filter(|backend| scope.holds(&backend.service.namespace));
            drop(reply.send(backends.collect()));
        }
        Query::Connections(_, reply) => drop(reply.send(answers::connections())),
        Query::Explain(question, reply) => drop(reply.send(match question.target {
            ExplainTarget::Address { port: 80, .. } => Ok(answers::explanation()),
            ExplainTarget::Address { port: 81, .. } => Ok(answers::refusal()),
            ExplainTarget::Address { .. } => Ok(answers::untouched()),
            ExplainTarget::Service { namespace, name, port } => Err(Failure {
                message: format!("the agent knows no Service {namespace}/{name} with port {port:?}"),
                action: "list what it knows: mesh service list".to_owned(),
            }),
        })),
        Query::Findings(reply) => drop(reply.send(state.status.findings.clone())),
        Query::Events(reply) => {
            let recent = answers::events().into_iter().map(Arc::new).collect();
            drop(reply.send(EventFeed { recent, live: state.events.subscribe() }));
        }
        Query::Tables(reply) => drop(reply.send(answers::tables())),
    }
}

/// Makes a status that needs attention.
pub fn degrade(status: &mut Status) {
    status.health = Health::Degraded;
    status.problems = vec!["1 object is rejected: see the findings".to_owned()];
    status.findings = vec![answers::finding()];
    status.waiting = vec![answers::waiting()];
    status.services.waiting = 1;
}

/// Runs `mesh` to its end; arguments are split at spaces.
pub fn mesh(line: &str) -> Output {
    command(line).output().unwrap()
}

/// Starts `mesh` with a socket.
pub fn spawn(socket: &Path, line: &str) -> Child {
    let mut command = command(line);
    command.arg("--socket").arg(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.args(line.split_whitespace()).env_remove("MESH_SOCKET").env_remove("NODE_NAME").stdin(Stdio::null());
    command
}

/// What it printed.
pub fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

/// What it complained of.
pub fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}
