//! The data path on the real kernel: loading, attaching, adopting, refusing, removing. Needs root.

use mesh_userspace::bpf;
use mesh_userspace::datapath::{self, Cgroup, Error, HOOKS, Pins, Sizes};
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A cgroup and a pin directory of this test's own, removed also on panic.
struct Place {
    cgroup: PathBuf,
    pins: Pins,
}

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("mesh-datapath-{name}-{}", std::process::id());
        let cgroup = datapath::find_cgroup().expect("a cgroup2 mount").join(&name);
        fs::create_dir(&cgroup).expect("create a cgroup (as root)");
        Self { cgroup, pins: Pins::new(PathBuf::from("/sys/fs/bpf").join(name)) }
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.cgroup).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let unloaded = datapath::unload(&self.pins);
        let removed = fs::remove_dir(&self.cgroup);
        if !std::thread::panicking() {
            unloaded.unwrap();
            removed.unwrap();
        }
    }
}

const SMALL: Sizes = Sizes {
    frontends: 64,
    addresses: 64,
    services: 64,
    slots: 256,
    backends: 64,
    connections: 64,
    flows: 64,
    affinities: 64,
};

#[test]
fn every_program_is_verified_and_attached_where_it_belongs() {
    let place = Place::new("attach");
    let loaded = datapath::load(&place.pins, &SMALL).unwrap();
    assert!(!loaded.adopted);
    let cgroup = place.cgroup();
    datapath::attach(&loaded, &cgroup).unwrap();
    for hook in &HOOKS {
        let attached = datapath::attached(&place.pins, hook).unwrap().expect(hook.name);
        assert_eq!((attached.cgroup, attached.attach_type), (cgroup.id(), hook.attach_type as u32), "{}", hook.name);
    }
}

#[test]
fn a_second_agent_adopts_the_maps_and_replaces_the_programs_behind_the_same_links() {
    let place = Place::new("adopt");
    let cgroup = place.cgroup();
    let first = datapath::load(&place.pins, &SMALL).unwrap();
    datapath::attach(&first, &cgroup).unwrap();
    let connections = first.map("CONNECTIONS").unwrap();
    bpf::update(connections.as_fd(), &7_u64.to_ne_bytes(), &[1; 56], bpf::NO_EXIST).unwrap();
    let before: Vec<_> = HOOKS.iter().map(|hook| datapath::attached(&place.pins, hook).unwrap().unwrap()).collect();
    drop(first);

    let second = datapath::load(&place.pins, &SMALL).unwrap();
    assert!(second.adopted);
    datapath::attach(&second, &cgroup).unwrap();
    let (keys, _) = bpf::read_all(second.map("CONNECTIONS").unwrap().as_fd(), 8, 56).unwrap();
    assert_eq!(keys, 7_u64.to_ne_bytes());
    for (hook, before) in HOOKS.iter().zip(before) {
        let after = datapath::attached(&place.pins, hook).unwrap().unwrap();
        assert_eq!(after.cgroup, before.cgroup);
        assert_ne!(after.program, before.program, "{}: the program is the second agent's", hook.name);
    }
}

#[test]
fn pins_of_another_size_are_refused_by_name_and_left_as_they_are() {
    let place = Place::new("shape");
    drop(datapath::load(&place.pins, &SMALL).unwrap());
    let error = datapath::load(&place.pins, &Sizes { backends: 65, ..SMALL }).err().expect("refused");
    let words = error.to_string();
    assert!(words.contains("BACKENDS") && words.contains("64") && words.contains("65"), "{words}");
    assert!(datapath::load(&place.pins, &SMALL).unwrap().adopted);
}

#[test]
fn links_of_another_cgroup_are_refused() {
    let place = Place::new("elsewhere");
    let other = Place::new("elsewhere-other");
    let loaded = datapath::load(&place.pins, &SMALL).unwrap();
    datapath::attach(&loaded, &place.cgroup()).unwrap();
    let refused = datapath::attach(&loaded, &other.cgroup());
    assert!(matches!(refused, Err(Error::Elsewhere { .. })), "{refused:?}");
}

#[test]
fn one_agent_at_a_time_holds_the_pins() {
    let place = Place::new("lock");
    place.pins.prepare().unwrap();
    let held = place.pins.lock().unwrap();
    assert!(matches!(place.pins.lock(), Err(Error::Locked(_))));
    drop(held);
    drop(place.pins.lock().unwrap());
}

#[test]
fn a_former_layout_directs_nothing_more_and_goes_with_its_last_connection() {
    let place = Place::new("former");
    let cgroup = place.cgroup();
    let former = datapath::load(&place.pins, &SMALL).unwrap();
    datapath::attach(&former, &cgroup).unwrap();
    let connections = former.map("CONNECTIONS").unwrap();
    bpf::update(connections.as_fd(), &9_u64.to_ne_bytes(), &[0; 56], bpf::NO_EXIST).unwrap();
    drop(former);
    let old = place.pins.root().join("v0");
    fs::rename(place.pins.layout(), &old).unwrap();

    let new = datapath::load(&place.pins, &SMALL).unwrap();
    assert!(!new.adopted);
    datapath::attach(&new, &cgroup).unwrap();
    assert_eq!(datapath::retire_former(&place.pins).unwrap(), 1);
    assert!(!old.join("links/connect4").exists() && !old.join("links/sendmsg6").exists());
    assert!(old.join("links/sock_release").exists() && old.join("links/getpeername4").exists());

    bpf::delete(connections.as_fd(), &9_u64.to_ne_bytes()).unwrap();
    assert_eq!(datapath::retire_former(&place.pins).unwrap(), 0);
    assert!(!old.exists());
}
