//! Small clusters, made up from a seed, and what the maps must say of them.

use crate::maps::Maps;
use crate::model::ServiceKey;
use crate::plan::{BackendKey, DesiredPort, DesiredService, Endings};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::{
    BackendState, BackendTag, FilterBit, FlowLimit, FrontendKey, Outlier, OutlierRule, Rate, Rule, SlotRange,
    SlowStart, TrafficRule, UNLIMITED,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Services of a cluster.
pub const SERVICES: u8 = 4;

/// A generator of numbers (SplitMix64): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub fn name(service: u8) -> ServiceKey {
    ServiceKey::new("shop", format!("service-{service}"))
}

pub fn cluster_ip(last: u8) -> Address {
    Address::from(Ipv4Addr::new(10, 96, 0, last))
}

/// An endpoint says whose it is: its address names the Service, its port the Service's port.
pub fn endpoint(service: u8, number: u8, port: u16, protocol: Protocol) -> BackendKey {
    let address = Address::from(Ipv4Addr::new(10, 244, service, number));
    BackendKey { address, port: Port::from_host(8000 + port), protocol }
}

/// The Service whose endpoint this is.
pub fn service_of(address: Address) -> u8 {
    match IpAddr::from(address) {
        IpAddr::V4(v4) => v4.octets()[2],
        IpAddr::V6(_) => panic!("{address} is no endpoint of these tests"),
    }
}

/// A cluster: what each Service should be.
pub type Cluster = BTreeMap<u8, DesiredService>;

/// A cluster from a seed. One address belongs to one Service at a time, to another in the next cluster.
pub fn cluster(seed: u64) -> Cluster {
    let mut numbers = Numbers(seed);
    let shared_by = numbers.below(u64::from(SERVICES) + 1) as u8;
    let services = (0..SERVICES).filter_map(|service| {
        if numbers.one_in(4) {
            return None;
        }
        let mut addresses = vec![cluster_ip(service + 1)];
        if shared_by == service {
            addresses.push(cluster_ip(100));
        }
        Some((service, desired(service, addresses, &mut numbers)))
    });
    services.collect()
}

fn desired(service: u8, addresses: Vec<Address>, numbers: &mut Numbers) -> DesiredService {
    let limit = |numbers: &mut Numbers| if numbers.one_in(2) { UNLIMITED } else { numbers.below(5) };
    let mut ports = Vec::new();
    for (port, protocol) in [(80, Protocol::Tcp), (81, Protocol::Tcp), (53, Protocol::Udp)] {
        if numbers.one_in(3) {
            continue;
        }
        let frontends =
            addresses.iter().map(|&address| FrontendKey::new(address, Port::from_host(port), protocol)).collect();
        // Some endpoints serve two ports under one address and port.
        let target = if port == 81 && service.is_multiple_of(2) { 80 } else { port };
        let (mut slots, mut kept) = (Vec::new(), Vec::new());
        for number in 0..5 {
            match numbers.below(4) {
                0 | 1 => slots.push(endpoint(service, number, target, protocol)),
                2 => kept.push(endpoint(service, number, target, protocol)),
                _ => {}
            }
        }
        // By weight, or as Maglev's table, a backend has several slots.
        for _ in 0..if slots.is_empty() { 0 } else { numbers.below(4) } {
            slots.push(slots[numbers.below(slots.len() as u64) as usize]);
        }
        let algorithm = Algorithm::ALL[numbers.below(4) as usize];
        let hash = HashBy::ALL[numbers.below(2) as usize];
        let affinity_timeout = u64::from(numbers.one_in(3)) * 10_800_000_000_000;
        let endings = Endings { gone: numbers.one_in(2).then_some(Duration::ZERO), ..Endings::default() };
        let outlier = numbers.one_in(2);
        ports.push(DesiredPort {
            frontends,
            fenced: false,
            algorithm,
            hash,
            outlier,
            affinity_timeout,
            slots,
            kept,
            endings,
        });
    }
    let backends = ports.iter().flat_map(|port| port.slots.iter().chain(&port.kept)).copied().collect::<BTreeSet<_>>();
    let weights = backends.into_iter().map(|key| (key, 1 + numbers.below(2) as u32)).filter(|(_, weight)| *weight != 1);
    let weights = weights.collect();
    let slow_start = SlowStart { window: 1 + numbers.below(3), from: numbers.below(3) as u16, ramp: [7; 8] };
    let rate = numbers.one_in(3).then(|| Rate::per_second(1 + numbers.below(9) as u32, 1 + numbers.below(9) as u32));
    let traffic = TrafficRule {
        slow_start: numbers.one_in(2).then_some(slow_start),
        observe: numbers.one_in(3),
        client_limit: numbers.one_in(3).then(|| numbers.below(4)),
        rate,
        client_rate: rate.filter(|_| numbers.one_in(2)),
        flows: numbers.one_in(3).then(|| FlowLimit { most: numbers.below(4) as u32, idle: 1 + numbers.below(4) }),
    };
    let outlier = OutlierRule { allowed: numbers.below(3), interval: 1, ..OutlierRule::default() };
    let (max_connections, max_connections_per_backend) = (limit(numbers), limit(numbers));
    DesiredService {
        addresses,
        nodes: false,
        ports,
        max_connections,
        max_connections_per_backend,
        traffic,
        outlier,
        probe: None,
        weights,
    }
}

/// What clients get by one frontend: algorithm and hash, both limits, what else is asked for, slots with weights.
type Reached = ((Algorithm, HashBy), (u64, u64), (TrafficRule, Option<OutlierRule>), Vec<(BackendKey, u32)>);

/// What the maps mean, without ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meaning {
    pub frontends: BTreeMap<FrontendKey, Reached>,
    /// Addresses by the frontends that share their account.
    pub addresses: BTreeMap<Address, Vec<FrontendKey>>,
    pub serving: BTreeSet<BackendKey>,
    pub filter: BTreeSet<(u32, u64)>,
}

/// What the maps must mean for a cluster.
pub fn expected(cluster: &Cluster) -> Meaning {
    expected_of(cluster.values())
}

/// What the maps must mean for these Services.
pub fn expected_of<'a>(services: impl Iterator<Item = &'a DesiredService>) -> Meaning {
    let mut meaning = Meaning::default();
    for service in services {
        let mut keys: Vec<FrontendKey> = service.ports.iter().flat_map(|port| port.frontends.clone()).collect();
        keys.sort_unstable();
        for port in &service.ports {
            for &key in &port.frontends {
                let limits = (service.max_connections, service.max_connections_per_backend);
                let weight = |key: &BackendKey| (*key, service.weights.get(key).copied().unwrap_or(1));
                let slots = port.slots.iter().map(weight).collect();
                let asked = (service.traffic, port.outlier.then_some(service.outlier));
                meaning.frontends.insert(key, ((port.algorithm, port.hash), limits, asked, slots));
            }
            meaning.serving.extend(port.slots.iter().chain(&port.kept));
        }
        for &address in &service.addresses {
            meaning.addresses.insert(address, keys.clone());
        }
    }
    let addresses = meaning.addresses.keys().chain(meaning.frontends.keys().map(|key| &key.address));
    meaning.filter = addresses.map(FilterBit::of).map(|bit| (bit.word, bit.mask)).collect();
    meaning
}

/// What the maps mean.
pub fn meaning(maps: &impl Maps) -> Meaning {
    let arrays = maps.arrays();
    let mut meaning = Meaning::default();
    let mut by_account: BTreeMap<u32, Vec<FrontendKey>> = BTreeMap::new();
    for (key, id) in maps.frontends().unwrap() {
        let entry = arrays.service(id).expect("an entry in range");
        let rule = Rule::unpack(entry.rule.load());
        let account = arrays.service(rule.account).expect("an account in range");
        let range = SlotRange::unpack(entry.slots.load());
        let slots = (range.base..range.base + range.len).map(|position| {
            let backend = arrays.backend(arrays.slots[position as usize].load()).expect("a backend in range");
            let tag = BackendTag::unpack(backend.tag.load()).expect("a backend in use");
            assert_eq!((tag.account, tag.state), (rule.account, BackendState::Serving), "slot of {key}");
            let key = BackendKey { address: backend.address(), port: tag.port, protocol: tag.protocol };
            (key, backend.weight.load() as u32)
        });
        let limits = (account.max_connections.load(), account.max_connections_per_backend.load());
        let traffic = arrays.traffic(rule.account).expect("an account in range");
        let outlier = arrays.outlier(rule.account).filter(|_| rule.outlier).map(Outlier::load);
        let traffic = if rule.traffic { traffic.load() } else { TrafficRule::default() };
        meaning.frontends.insert(key, ((rule.algorithm, rule.hash), limits, (traffic, outlier), slots.collect()));
        by_account.entry(rule.account.0).or_default().push(key);
    }
    for keys in by_account.values_mut() {
        keys.sort_unstable();
    }
    for (address, account) in maps.addresses().unwrap() {
        meaning.addresses.insert(address, by_account.get(&account.0).cloned().unwrap_or_default());
    }
    for backend in arrays.backends {
        if let Some(tag) = BackendTag::unpack(backend.tag.load()).filter(|tag| tag.state == BackendState::Serving) {
            let key = BackendKey { address: backend.address(), port: tag.port, protocol: tag.protocol };
            assert!(meaning.serving.insert(key), "{key} twice");
        }
    }
    for (word, bits) in arrays.filter.iter().enumerate().filter(|(_, bits)| bits.load() != 0) {
        let set = (0..64).map(|bit| 1 << bit).filter(|mask| bits.load() & mask != 0);
        meaning.filter.extend(set.map(|mask| (word as u32, mask)));
    }
    meaning
}
