//! What the agent relies on, checked against the kernel's maps and against those in memory. Needs root.

use super::fresh::MMAPABLE;
use super::{KernelFds, KernelMaps, MapError, Maps, MemoryMaps};
use crate::bpf::{self, NewMap};
use crate::plan::{BackendKey, MapOp, Sizes, Table};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::outlier::{self, Outcome, Recorded};
use mesh_common::reason::Reason;
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::{
    BackendId, BackendState, BackendTag, CONFIRMED, Connection, FilterBit, FrontendKey, OutlierRule, Rule, ServiceId,
    SlotRange, SlowStart, Thresholds, TrafficRule, UNLIMITED,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

/// Small enough that every table fills up.
const SIZES: Sizes = Sizes { frontends: 6_000, addresses: 5, services: 32, slots: 64, backends: 16 };

fn make(map: &NewMap<'_>) -> OwnedFd {
    bpf::create_map(map).expect("make a map: these tests need root")
}

/// A connection put into maps as a program would.
trait Connect {
    fn connect(&mut self, cookie: u64, connection: Connection);
}

impl Connect for MemoryMaps {
    fn connect(&mut self, cookie: u64, connection: Connection) {
        self.insert_connection(cookie, connection);
    }
}

impl Connect for KernelMaps {
    fn connect(&mut self, cookie: u64, connection: Connection) {
        assert!(self.restore_connection(cookie, &connection).unwrap());
    }
}

fn address(last: u8) -> Address {
    Address::from(Ipv4Addr::new(10, 96, 0, last))
}

fn frontend(port: u16) -> FrontendKey {
    FrontendKey::new(address(1), Port::from_host(port), Protocol::Tcp)
}

#[test]
fn memory_conforms() {
    conforms(&mut MemoryMaps::new(SIZES));
}

#[test]
fn the_kernel_conforms() {
    conforms(&mut KernelMaps::new(KernelFds::fresh(&SIZES, 64).unwrap()).unwrap());
}

fn conforms(maps: &mut (impl Maps + Connect)) {
    assert_eq!(maps.sizes(), SIZES);
    hashes(maps);
    words(maps);
    ejection(maps);
    connections(maps);
}

fn hashes(maps: &mut impl Maps) {
    // More than one batch, in order; the one that is there already stops it.
    let all: Vec<_> = (1..=6_000).map(|port| (frontend(port), ServiceId(u32::from(port)))).collect();
    maps.insert_frontends(&all[5_500..5_501]).unwrap();
    let stopped = maps.insert_frontends(&all).unwrap_err();
    assert_eq!(stopped.done, 5_500);
    assert!(matches!(stopped.error, MapError::Exists(Table::Frontends)), "{:?}", stopped.error);
    maps.insert_frontends(&all[5_501..]).unwrap();
    assert_eq!(maps.frontends().unwrap().into_iter().collect::<BTreeMap<_, _>>(), all.iter().copied().collect());
    assert_eq!(maps.frontend(&frontend(77)).unwrap(), Some(ServiceId(77)));

    let full = maps.insert_frontends(&[(frontend(7_000), ServiceId(1))]).unwrap_err();
    assert_eq!(full.done, 0);
    assert!(matches!(full.error, MapError::Full(Table::Frontends)), "{:?}", full.error);

    maps.delete_frontend(&frontend(77)).unwrap();
    maps.delete_frontend(&frontend(77)).unwrap(); // gone is gone
    assert_eq!(maps.frontend(&frontend(77)).unwrap(), None);
    maps.insert_frontends(&[(frontend(7_000), ServiceId(1))]).unwrap();

    let addresses: Vec<_> = (1..=6).map(|last| (address(last), ServiceId(u32::from(last)))).collect();
    let full = maps.insert_addresses(&addresses).unwrap_err();
    assert_eq!(full.done, 5);
    assert!(matches!(full.error, MapError::Full(Table::Addresses)), "{:?}", full.error);
    maps.delete_address(&address(3)).unwrap();
    assert_eq!(maps.address(&address(3)).unwrap(), None);
    assert_eq!(maps.address(&address(5)).unwrap(), Some(ServiceId(5)));
    assert_eq!(maps.addresses().unwrap().len(), 4);
}

/// One that is ejected counts until its endpoint goes.
fn ejection(maps: &mut impl Maps) {
    let (id, account) = (BackendId(6), ServiceId(2));
    let key = BackendKey { address: address(8), port: Port::from_host(8080), protocol: Protocol::Tcp };
    maps.write(&MapOp::CreateBackend { id, key, account, weight: 1 }).unwrap();
    let outlier = OutlierRule {
        thresholds: Thresholds { connects: 2, ..Thresholds::default() },
        allowed: 1,
        ..OutlierRule::default()
    };
    maps.write(&MapOp::SetOutlier { account, outlier }).unwrap();
    let arrays = maps.arrays();
    let (standing, entry) = (&arrays.backend(id).unwrap().standing, arrays.outlier(account).unwrap());
    let fails = || outlier::record(standing, entry, Outcome::ConnectFailed, 9);
    assert_eq!([fails(), fails()], [Recorded::Counted, Recorded::Ejected]);
    assert_eq!(entry.ejected.load(), 1);
    maps.write(&MapOp::MarkGone { id, key, account }).unwrap();
    maps.write(&MapOp::RetireBackend { id }).unwrap();
    let arrays = maps.arrays();
    assert_eq!(arrays.outlier(account).unwrap().ejected.load(), 0);
    assert_eq!(arrays.backend(id).unwrap().standing.load(), 0);
}

fn words(maps: &mut impl Maps) {
    let (id, account) = (ServiceId(3), ServiceId(2));
    let rule = Rule {
        account,
        algorithm: Algorithm::Maglev,
        hash: HashBy::ClientAndPort,
        traffic: true,
        outlier: true,
        fenced: true,
        nodes: false,
    };
    let slow_start = SlowStart { window: 30, from: 9, ramp: [1, 2, 3, 4, 5, 6, 7, 8] };
    let traffic = TrafficRule { slow_start: Some(slow_start), client_limit: Some(0), ..TrafficRule::default() };
    let thresholds = Thresholds { connects: 5, resets: 3, ..Thresholds::default() };
    let outlier = OutlierRule { thresholds, base_ejection: 30, interval: 10, allowed: 2, ..OutlierRule::default() };
    maps.write(&MapOp::OpenAccount {
        id: account,
        service: None,
        nodes: false,
        max_connections: 7,
        max_connections_per_backend: 2,
    })
    .unwrap();
    maps.write(&MapOp::OpenPort { id, rule, affinity_timeout: 7, dialled: None }).unwrap();
    let key = BackendKey { address: address(9), port: Port::from_host(8080), protocol: Protocol::Udp };
    maps.write(&MapOp::CreateBackend { id: BackendId(5), key, account, weight: 1 }).unwrap();
    maps.write(&MapOp::SetWeight { id: BackendId(5), key, account, weight: 3 }).unwrap();
    maps.write(&MapOp::SetTraffic { account, traffic }).unwrap();
    maps.write(&MapOp::SetOutlier { account, outlier }).unwrap();
    maps.write(&MapOp::WriteSlots { base: 61, backends: vec![BackendId(5), BackendId(6), BackendId(5)] }).unwrap();
    let range = SlotRange { base: 61, len: 3 };
    maps.write(&MapOp::Publish { id, range, backends: Vec::new() }).unwrap();
    maps.write(&MapOp::SetFilter { address: address(1) }).unwrap();

    let arrays = maps.arrays();
    let entry = arrays.service(id).unwrap();
    assert_eq!(SlotRange::unpack(entry.slots.load()), range);
    assert_eq!(Rule::unpack(entry.rule.load()), rule);
    assert_eq!(arrays.traffic(account).unwrap().load(), traffic);
    assert_eq!(arrays.outlier(account).unwrap().load(), outlier);
    assert_eq!(entry.max_connections.load(), UNLIMITED);
    let counts = arrays.service(account).unwrap();
    assert_eq!((counts.max_connections.load(), counts.max_connections_per_backend.load()), (7, 2));
    assert_eq!(arrays.slots[62].load(), BackendId(6));
    let backend = arrays.backend(BackendId(5)).unwrap();
    let tag = BackendTag { port: key.port, protocol: key.protocol, state: BackendState::Serving, account };
    assert_eq!((backend.address(), BackendTag::unpack(backend.tag.load())), (key.address, Some(tag)));
    let bit = FilterBit::of(&address(1));
    assert_eq!(arrays.filter_word(bit.word).unwrap().load(), bit.mask);
    assert_eq!(arrays.reasons(ServiceId(31)).unwrap().len(), Reason::COLUMNS as usize);
    arrays.reasons(id).unwrap()[3].fetch_add(1);
    entry.opened.fetch_add(1);

    maps.write(&MapOp::ClearFilter { bit: bit.word * 64 + bit.mask.trailing_zeros() }).unwrap();
    maps.write(&MapOp::MarkGone { id: BackendId(5), key, account }).unwrap();
    let gone = maps.arrays().backend(BackendId(5)).unwrap().tag.load();
    assert_eq!(BackendTag::unpack(gone).unwrap().state, BackendState::Gone);
    maps.write(&MapOp::RetireService { id }).unwrap();
    let arrays = maps.arrays();
    assert_eq!(arrays.filter_word(bit.word).unwrap().load(), 0);
    let entry = arrays.service(id).unwrap();
    assert_eq!((entry.rule.load(), entry.slots.load(), entry.opened.load()), (0, 0, 0));
    assert_eq!(arrays.reasons(id).unwrap()[3].load(), 0);

    for beyond in [
        MapOp::Publish { id: ServiceId(32), range, backends: Vec::new() },
        MapOp::Publish { id: ServiceId(0), range, backends: Vec::new() },
        MapOp::RetireBackend { id: BackendId(16) },
        MapOp::WriteSlots { base: 63, backends: vec![BackendId(1), BackendId(1)] },
    ] {
        let error = maps.write(&beyond).unwrap_err();
        assert!(matches!(error, MapError::OutOfRange { .. }), "{beyond}: {error:?}");
    }
    assert_eq!(maps.arrays().slots[63].load(), BackendId(5), "nothing of what was refused is written");
}

fn connections(maps: &mut (impl Maps + Connect)) {
    let connection = Connection {
        frontend: frontend(80),
        account: ServiceId(2),
        service: ServiceId(3),
        backend: BackendId(5),
        netns: 11,
        opened_at: 12,
        flags: CONFIRMED,
        client: 0,
    };
    maps.connect(40, connection);
    maps.connect(41, Connection { flags: 0, ..connection });
    let all: BTreeMap<_, _> = maps.connections().unwrap().into_iter().map(|(cookie, c)| (cookie, c.flags)).collect();
    assert_eq!(all, BTreeMap::from([(40, CONFIRMED), (41, 0)]));
    assert_eq!(maps.take_connection(40).unwrap(), Some(connection));
    assert_eq!(maps.take_connection(40).unwrap(), None, "taken once");
    assert!(maps.restore_connection(40, &connection).unwrap());
    let newer = Connection { opened_at: 13, ..connection };
    assert!(!maps.restore_connection(40, &newer).unwrap(), "the socket has another by now");
    assert_eq!(maps.take_connection(40).unwrap(), Some(connection));
}

#[test]
fn what_another_agent_maps_is_the_same_memory() {
    let fds = KernelFds::fresh(&SIZES, 64).unwrap();
    let again = |fd: &OwnedFd| fd.as_fd().try_clone_to_owned().unwrap();
    let copies = KernelFds {
        frontends: again(&fds.frontends),
        addresses: again(&fds.addresses),
        filter: again(&fds.filter),
        services: again(&fds.services),
        traffic: again(&fds.traffic),
        outliers: again(&fds.outliers),
        slots: again(&fds.slots),
        backends: again(&fds.backends),
        clients: again(&fds.clients),
        connections: again(&fds.connections),
        reason_counts: again(&fds.reason_counts),
        settings: again(&fds.settings),
    };
    // The kernel's own view, by system call: a program sees what the mapping says, at the stride it uses.
    let slots = again(&fds.slots);
    let mut maps = KernelMaps::new(fds).unwrap();
    maps.write(&MapOp::WriteSlots { base: 9, backends: vec![BackendId(1), BackendId(2)] }).unwrap();
    let mut value = [0; 4];
    assert!(bpf::lookup(slots.as_fd(), &10_u32.to_ne_bytes(), &mut value).unwrap());
    assert_eq!(u32::from_ne_bytes(value), 2);
    drop(maps);
    let maps = KernelMaps::new(copies).unwrap();
    assert_eq!(maps.arrays().slots[10].load(), BackendId(2));
}

#[test]
fn maps_of_another_shape_are_refused() {
    let wrong = |change: fn(&mut KernelFds)| {
        let mut fds = KernelFds::fresh(&SIZES, 64).unwrap();
        change(&mut fds);
        KernelMaps::new(fds).unwrap_err().to_string()
    };
    assert_eq!(
        wrong(|fds| fds.services = make(&NewMap { value_size: 72, flags: MMAPABLE, ..NewMap::default() })),
        "SERVICES: its value's size is 72, expected 64"
    );
    assert_eq!(
        wrong(|fds| fds.backends = make(&NewMap { value_size: 64, ..NewMap::default() })),
        "BACKENDS: its flag BPF_F_MMAPABLE is 0, expected 1024"
    );
    assert_eq!(wrong(|fds| fds.frontends = make(&NewMap::default())), "FRONTENDS: its type is 2, expected 1");
}
