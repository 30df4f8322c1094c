//! The lab while it is up: the world, the application in it, its clients, and who says what about them.

use crate::figures::Figures;
use crate::promises::Promises;
use crate::screen::Screen;
use crate::traffic::Traffic;
use crate::{Up, acts, keep, shop, table};
use anyhow::{Context, Result, bail, ensure};
use mesh_tests::client::Client;
use mesh_tests::control_plane::{ControlPlane, Frontend};
use mesh_tests::object::{Object, ObjectName};
use mesh_tests::wait::PATIENCE;
use mesh_tests::world::{Pod, World};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How the names of a lab's worlds begin.
pub const PREFIX: &str = "mesh-lab";
const CLIENTS: usize = 2;

/// Everything that an act works with.
pub struct Lab<'w> {
    /// Where it all is.
    pub world: &'w World,
    /// The control plane.
    pub plane: ControlPlane<'w>,
    /// The pods of the clients.
    pub pods: Vec<Pod>,
    /// The clients for single connections. Those of the traffic are others, in the same pods.
    pub clients: Vec<Client>,
    /// The traffic.
    pub traffic: Traffic,
    /// Where it is told.
    pub screen: Screen,
    promises: Promises,
    figures: Figures,
    interrupted: Arc<AtomicBool>,
}

/// `mesh-lab`, from the manifests to the exit code.
pub fn run(up: &Up) -> Result<ExitCode> {
    let started = Instant::now();
    let interrupted = interruption()?;
    let objects = up.manifests.as_deref().map_or_else(shop::objects, read)?;
    let world = World::named(PREFIX)?;
    let mut lab = Lab::raise(&world, &objects, interrupted)?;
    let played = acts::play(&mut lab);
    if lab.interrupted.load(Ordering::Relaxed) {
        lab.screen.say("interrupted: everything is taken down");
        return Ok(ExitCode::FAILURE);
    }
    if let Err(error) = played {
        lab.note::<anyhow::Error>("the lab goes on to its end", Err(error));
        lab.screen.say(&format!("the agent's last words:\n{}", last_lines(&world.agent().log(), 20)));
    }
    let code = lab.promises.summary(&mut lab.screen, started.elapsed().as_secs_f64());
    if up.keep {
        keep::hints(&mut lab)?;
    }
    drop(lab);
    if up.keep {
        world.keep()?;
    }
    Ok(code)
}

/// Becomes true with the first signal to end.
pub fn interruption() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once; what it leaves is swept by `down` or by the next run.
        flag::register_conditional_default(signal, Arc::clone(&interrupted)).context("handle signals")?;
        flag::register(signal, Arc::clone(&interrupted)).context("handle signals")?;
    }
    Ok(interrupted)
}

fn read(path: &Path) -> Result<Vec<Object>> {
    let objects = Object::read(path)?;
    ensure!(!objects.is_empty(), "{}: there is no Kubernetes object in it", path.display());
    Ok(objects)
}

impl<'w> Lab<'w> {
    fn raise(world: &'w World, objects: &[Object], interrupted: Arc<AtomicBool>) -> Result<Self> {
        let mut screen = Screen::new();
        screen.act("An application comes up");
        let mut plane = ControlPlane::new(world)?;
        plane.apply(objects)?;
        for note in plane.notes() {
            screen.say(&format!("  note: {note}"));
        }
        for service in plane.services() {
            let pods: Vec<_> = plane.pods_of(service).map(mesh_tests::control_plane::Replica::name).collect();
            let frontends: Vec<_> = service.frontends().iter().map(ToString::to_string).collect();
            let or = |list: String, none: &str| if list.is_empty() { none.to_owned() } else { list };
            let (frontends, pods) = (or(frontends.join(", "), "no address"), or(pods.join(" "), "no pod"));
            screen.say(&format!("  {:<16} {frontends}  ->  {pods}", service.label()));
        }
        world.agent().start()?;
        let pods = (1..=CLIENTS).map(|n| world.pod(&format!("client-{n}"))).collect::<Result<Vec<_>>>()?;
        let clients = pods.iter().map(Pod::client).collect::<Result<_>>()?;
        let visitors = pods.iter().map(|pod| Ok((pod.name().to_owned(), pod.client()?))).collect::<Result<Vec<_>>>()?;
        let figures = Figures::ask(world.agent())?;
        let mut lab = Self {
            world,
            plane,
            pods,
            clients,
            traffic: Traffic::start(&visitors),
            screen,
            promises: Promises::default(),
            figures,
            interrupted,
        };
        lab.screen.say(&format!(
            "  {} pods, {} Services, {CLIENTS} clients; the agent serves them as process {}",
            lab.plane.pods().len(),
            lab.plane.services().count(),
            world.agent().id()?
        ));
        ensure!(
            !lab.frontends().is_empty(),
            "no Service has both an address and a pod that it selects: nothing to show"
        );
        lab.unserved()
    }

    /// Says which Services the agent does not serve, and why.
    fn unserved(mut self) -> Result<Self> {
        for service in self.figures.services.clone().iter().filter(|service| service.state != "served") {
            self.screen.say(&format!("  {} is {}: {}", service.label(), service.state, service.message));
        }
        let findings = self.world.agent().status()?["findings"].clone();
        for finding in findings.as_array().into_iter().flatten() {
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let object = &finding["object"];
            let name = format!("{} {}/{}", object["kind"], object["namespace"], object["name"]).replace('"', "");
            self.screen.say(&format!("  {}: {name}: {} {}", text("severity"), text("field"), text("message")));
        }
        Ok(self)
    }

    /// What is said to clients: the frontends of Services with pods behind them.
    pub fn frontends(&self) -> Vec<Frontend> {
        let alive = self.plane.services().filter(|service| self.plane.pods_of(service).next().is_some());
        alive.flat_map(mesh_tests::control_plane::ServedService::frontends).collect()
    }

    /// The frontends that traffic goes to: not those of a Service whose limit the lab could reach by the way, with a
    /// visit of each client and a connection held to each frontend.
    pub fn visited(&self) -> Vec<Frontend> {
        let all = self.frontends();
        let room = |frontend: &&Frontend| {
            let limit = self.figures.service(&frontend.service).ok().and_then(|service| {
                [service.max_connections, service.max_connections_per_backend].into_iter().flatten().min()
            });
            let own = CLIENTS + all.iter().filter(|other| other.service == frontend.service).count();
            limit.is_none_or(|limit| limit >= own as u64)
        };
        all.iter().filter(room).cloned().collect()
    }

    /// Frontends but those of one Service.
    pub fn visited_without(&self, service: &ObjectName) -> Vec<Frontend> {
        self.visited().into_iter().filter(|frontend| frontend.service != *service).collect()
    }

    /// Asks the agent.
    pub fn figures(&mut self) -> Result<&Figures> {
        self.figures = Figures::ask(self.world.agent())?;
        Ok(&self.figures)
    }

    /// Notes a promise.
    pub fn note<E: Display>(&mut self, promise: &str, outcome: Result<(), E>) {
        self.promises.note(&mut self.screen, promise, outcome);
    }

    /// Waits until a condition is true, while the table is drawn where somebody watches.
    pub fn watch<T>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            self.pulse()?;
            match condition(self) {
                Ok(value) => return Ok(value),
                Err(seen) if started.elapsed() > PATIENCE => {
                    bail!("waited {} s for {what}; last seen: {seen:#}", PATIENCE.as_secs())
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Waits until every visited frontend has had so many more visits.
    pub fn watch_visits(&mut self, visits: u64) -> Result<()> {
        let (frontends, before) = (self.visited(), self.traffic.all());
        let goal = before.fewest(&frontends) + visits;
        self.watch("the clients to visit every Service", |lab| {
            let seen = lab.traffic.all().fewest(&frontends);
            ensure!(seen >= goal, "{seen} of {goal} visits");
            Ok(())
        })
    }

    /// Ends an act: the table as it stands.
    pub fn show(&mut self) -> Result<()> {
        if self.screen.is_terminal() {
            // Only where people read along is there time for it.
            let until = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < until {
                self.pulse()?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        let lines = self.table();
        self.screen.print(lines);
        Ok(())
    }

    fn pulse(&mut self) -> Result<()> {
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        if self.screen.wants_table() {
            let lines = self.table();
            self.screen.draw(&lines);
        }
        Ok(())
    }

    fn table(&mut self) -> Vec<String> {
        let alive = self.world.agent().is_running();
        let fresh = alive && self.figures().is_ok();
        let clients: Vec<_> = self.pods.iter().map(|pod| pod.name().to_owned()).collect();
        table::lines(&clients, &self.traffic.all(), &self.figures, fresh)
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
