//! Real files in a real directory, and what becomes of them. Nothing here waits for a time, only for a condition; what
//! must not happen is looked for in everything that came before a change that was made afterwards.

use super::*;
use crate::model::{Object, Severity};
use crate::source::Subject;
use std::collections::BTreeMap as Map;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use tempfile::TempDir;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, channel};

/// A directory that is being followed, and what the changes so far amount to.
struct World {
    _above: TempDir,
    root: PathBuf,
    received: Receiver<Vec<Change>>,
    handle: Handle,
    zones: Map<String, String>,
    findings: Map<String, usize>,
    /// Everything that happened, as `+a=zone`, `-a`, `synced`.
    log: Vec<String>,
    fences: u32,
}

impl World {
    /// Follows a directory that `prepare` has filled.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("manifests");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let mut world = Self::follow(above, root);
        world.until("it is read", |world| world.log.last().is_some_and(|last| last == "synced"));
        world
    }

    fn follow(above: TempDir, root: PathBuf) -> Self {
        let (sender, received) = channel(4);
        let handle = spawn(&root, sender).unwrap();
        let (zones, findings, log) = (Map::new(), Map::new(), Vec::new());
        Self { _above: above, root, received, handle, zones, findings, log, fences: 0 }
    }

    fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            match self.received.try_recv() {
                Ok(changes) => changes.into_iter().for_each(|change| self.note(change)),
                Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                Err(TryRecvError::Disconnected) => panic!("the thread ended before {what}: {:#?}", self.log),
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "not seen: {what}; {:?}\n{:#?}",
                self.findings,
                self.log
            );
        }
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Upsert { object: Object::Node(node), .. } => {
                self.log.push(format!("+{}={}", node.name, node.locality.zone));
                self.zones.insert(node.name.to_string(), node.locality.zone.to_string());
            }
            Change::Remove(object) => {
                self.log.push(format!("-{}", object.name));
                self.zones.remove(&*object.name);
            }
            Change::Findings { subject: Subject::File(file), findings } => {
                self.log.extend(findings.iter().map(|finding| format!("!{finding}")));
                self.findings.insert(file.to_string(), findings.len());
                self.findings.retain(|_, count| *count > 0);
                assert!(findings.iter().all(|finding| finding.severity != Severity::Unsupported));
            }
            Change::Synced => self.log.push("synced".into()),
            Change::Counted(_) => {}
            other @ (Change::Upsert { .. } | Change::Findings { .. } | Change::Troubles(_)) => panic!("{other:?}"),
        }
    }

    fn zone(&mut self, name: &str, zone: &str) {
        self.until(&format!("{name} in {zone}"), |world| world.zones.get(name).is_some_and(|known| known == zone));
    }

    fn gone(&mut self, name: &str) {
        self.until(&format!("{name} gone"), |world| !world.zones.contains_key(name));
    }

    /// Makes a change of its own and waits for it twice, so that whatever was about to happen has happened: files that
    /// vanished before the second are given up with it or before it.
    fn settle(&mut self) {
        self.fences += 1;
        let name = format!("fence-{}", self.fences);
        let path = self.root.join(format!("{name}.yaml"));
        fs::write(&path, node(&name, "z")).unwrap();
        self.zone(&name, "z");
        fs::remove_file(&path).unwrap();
        self.gone(&name);
    }

    fn never(&self, entry: &str) {
        assert!(!self.log.iter().any(|line| line == entry), "{entry} in {:#?}", self.log);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn node(name: &str, zone: &str) -> String {
    let labels = format!("{{topology.kubernetes.io/zone: {zone}}}");
    format!("---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {labels}}}\n")
}

fn with_a(root: &Path) {
    fs::write(root.join("a.yaml"), node("a", "z1")).unwrap();
}

#[test]
fn a_tree_is_read_then_followed() {
    let mut world = World::new(|root| {
        with_a(root);
        fs::create_dir_all(root.join("x/y")).unwrap();
        fs::write(root.join("x/y/b.json"), r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"b"}}"#).unwrap();
        fs::write(root.join(".hidden.yaml"), node("hidden", "z")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/c.yaml"), node("hidden", "z")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    assert_eq!(world.log, ["+a=z1", "+b=", "synced"]);
    fs::write(world.path("a.yaml"), node("a", "z2")).unwrap();
    world.zone("a", "z2");
    fs::write(world.path("x/y/b.json"), "{").unwrap();
    world.until("the mistake is reported", |world| world.findings.contains_key("x/y/b.json"));
    fs::write(world.path("x/new.yml"), node("c", "z1")).unwrap();
    world.zone("c", "z1");
    fs::remove_file(world.path("x/new.yml")).unwrap();
    world.gone("c");
    assert_eq!(world.zones["b"], "");
}

#[test]
fn editors_replace_without_a_gap() {
    let mut world = World::new(with_a);
    let (a, backup) = (world.path("a.yaml"), world.path("a.yaml~"));
    for (turn, zone) in ["z2", "z3", "z4", "z5", "z6", "z7"].into_iter().enumerate() {
        match turn % 3 {
            0 => {
                let temporary = world.path(".a.yaml.tmp");
                fs::write(&temporary, node("a", zone)).unwrap();
                fs::rename(&temporary, &a).unwrap();
            }
            1 => {
                fs::rename(&a, &backup).unwrap();
                fs::write(&a, node("a", zone)).unwrap();
                fs::remove_file(&backup).unwrap();
            }
            _ => {
                fs::remove_file(&a).unwrap();
                fs::write(&a, node("a", zone)).unwrap();
            }
        }
        world.zone("a", zone);
    }
    world.settle();
    world.never("-a");
    assert!(world.findings.is_empty());
}

#[test]
fn a_file_is_read_when_it_is_closed() {
    let mut world = World::new(with_a);
    let text = [node("a", "z2"), node("b", "z1")].concat();
    let (first, second) = text.split_at(text.len() / 3);
    let mut file = File::create(world.path("a.yaml")).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    world.zone("b", "z1");
    world.zone("a", "z2");
    world.settle();
    world.never("-a");
}

#[test]
fn no_write_is_lost_however_fast_they_follow() {
    let mut world = World::new(with_a);
    for round in 0..20 {
        for turn in 0..10 {
            fs::write(world.path("a.yaml"), node("a", &format!("z{round:02}{turn}"))).unwrap();
        }
        world.zone("a", &format!("z{round:02}9"));
    }
}

#[test]
fn a_file_that_stays_open_is_read_when_it_is_quiet() {
    let mut world = World::new(with_a);
    let mut file = File::create(world.path("a.yaml")).unwrap();
    file.write_all(node("a", "z2").as_bytes()).unwrap();
    world.zone("a", "z2");
    file.write_all(node("b", "z1").as_bytes()).unwrap();
    world.zone("b", "z1");
    world.never("-a");
}

#[test]
fn directories_come_and_go_as_a_whole() {
    let mut world = World::new(with_a);
    let outside = tempfile::tempdir_in(world.root.parent().unwrap()).unwrap();
    let ready = outside.path().join("x");
    fs::create_dir_all(ready.join("y")).unwrap();
    fs::write(ready.join("y/b.yaml"), node("b", "z1")).unwrap();

    fs::rename(&ready, world.path("x")).unwrap();
    world.zone("b", "z1");
    fs::write(world.path("x/y/b.yaml"), node("b", "z2")).unwrap();
    world.zone("b", "z2");

    fs::rename(world.path("x"), world.path("moved")).unwrap();
    fs::write(world.path("moved/y/b.yaml"), node("b", "z3")).unwrap();
    world.zone("b", "z3");
    fs::write(world.path("moved/y/c.yaml"), node("c", "z1")).unwrap();
    world.zone("c", "z1");
    world.settle();
    world.never("-b");

    fs::rename(world.path("moved"), &ready).unwrap();
    world.gone("b");
    fs::write(ready.join("y/b.yaml"), node("b", "z9")).unwrap();
    world.settle();
    world.never("+b=z9");
    assert!(world.findings.is_empty() && world.zones.contains_key("a"));

    fs::create_dir_all(world.path("p/q/r")).unwrap();
    fs::write(world.path("p/q/r/d.yaml"), node("d", "z1")).unwrap();
    world.zone("d", "z1");
    fs::remove_dir_all(world.path("p")).unwrap();
    world.gone("d");
}

#[test]
fn a_directory_that_vanishes_is_kept_until_it_is_back() {
    let mut world = World::new(|root| {
        with_a(root);
        fs::write(root.join("b.yaml"), node("b", "z1")).unwrap();
    });
    let away = world.root.with_file_name("away");
    for zone in ["z2", "z3"] {
        fs::rename(&world.root, &away).unwrap();
        world.until("it is reported", |world| world.findings.len() == 1);
        fs::write(away.join("a.yaml"), node("a", zone)).unwrap();
        fs::rename(&away, &world.root).unwrap();
        world.zone("a", zone);
        world.until("it is right again", |world| world.findings.is_empty());
    }
    world.settle();
    world.never("-a");

    // Another directory in its place: what it does not hold is gone.
    let other = world.root.with_file_name("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("b.yaml"), node("b", "z4")).unwrap();
    fs::rename(&world.root, &away).unwrap();
    world.until("it is reported", |world| world.findings.len() == 1);
    fs::rename(&other, &world.root).unwrap();
    world.zone("b", "z4");
    world.gone("a");
    world.never("-b");
    fs::write(world.path("b.yaml"), node("b", "z5")).unwrap();
    world.zone("b", "z5");

    fs::remove_dir_all(&world.root).unwrap();
    world.until("it is reported", |world| world.findings.len() == 1);
    fs::create_dir(&world.root).unwrap();
    world.until("it is right again", |world| world.findings.is_empty());
    world.settle();
    assert!(world.findings.is_empty());
}

#[test]
fn a_directory_that_is_not_there_is_waited_for() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("later/manifests");
    let mut world = World::follow(above, root.clone());
    world.until("it is reported", |world| world.findings.len() == 1);
    world.never("synced");
    fs::create_dir_all(&root).unwrap();
    world.until("it is read", |world| world.log.iter().any(|line| line == "synced"));
    fs::write(root.join("a.yaml"), node("a", "z1")).unwrap();
    world.zone("a", "z1");
    assert!(world.findings.is_empty());
}

#[test]
fn a_mounted_config_map_is_swapped_at_once() {
    let version = |root: &Path, name: &str, zone: &str| {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("a.yaml"), node("a", zone)).unwrap();
        symlink(name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let mut world = World::new(|root| {
        version(root, "..2026_1", "z1");
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    });
    assert_eq!(world.log, ["+a=z1", "synced"]);
    for (number, zone) in [(2, "z2"), (3, "z3")] {
        version(&world.root, &format!("..2026_{number}"), zone);
        fs::remove_dir_all(world.path(&format!("..2026_{}", number - 1))).unwrap();
        world.zone("a", zone);
    }
    fs::write(world.path("..2026_3/a.yaml"), node("a", "z4")).unwrap();
    world.zone("a", "z4");
    world.settle();
    world.never("-a");
    assert!(world.findings.is_empty());
}

#[test]
fn links_are_followed_and_no_file_is_read_twice() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.yaml");
    fs::write(&target, node("b", "z1")).unwrap();
    let mut world = World::new(|root| {
        with_a(root);
        fs::hard_link(root.join("a.yaml"), root.join("again.yaml")).unwrap();
        symlink(&target, root.join("b.yaml")).unwrap();
        symlink(root, root.join("circle")).unwrap();
        symlink("nowhere", root.join("dangling.yaml")).unwrap();
        symlink("loop.yaml", root.join("loop.yaml")).unwrap();
    });
    assert_eq!(world.zones.len(), 2);
    assert_eq!(world.findings.keys().collect::<Vec<_>>(), ["loop.yaml/"], "{:?}", world.log);
    fs::write(&target, node("b", "z2")).unwrap();
    world.zone("b", "z2");
    let temporary = elsewhere.path().join("new");
    fs::write(&temporary, node("b", "z3")).unwrap();
    fs::rename(&temporary, &target).unwrap();
    world.zone("b", "z3");
    fs::write(world.path("again.yaml"), node("a", "z5")).unwrap();
    world.zone("a", "z5");
    fs::remove_file(world.path("a.yaml")).unwrap();
    world.settle();
    assert!(world.zones.contains_key("a"), "it is still there by its other name: {:#?}", world.log);
}

#[test]
fn the_thread_ends_when_nobody_listens() {
    let mut world = World::new(with_a);
    let (sender, received) = channel(1);
    drop(mem::replace(&mut world.received, received));
    let mut number = 0;
    let start = Instant::now();
    // The thread takes the other end of its own channel along.
    while world.handle.signals.send(Signal::Happened(Ok(Event::new(EventKind::Any)))).is_ok() {
        number += 1;
        fs::write(world.path("a.yaml"), node("a", &format!("y{number}"))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "it goes on");
        thread::sleep(Duration::from_millis(1));
    }
    drop(sender);
}
