//! At the size of a large cluster: 10,000 Services with 100,000 endpoints.

use super::world::{expected_of, meaning};
use crate::maps::{KernelFds, KernelMaps, Maps, MemoryMaps};
use crate::model::ServiceKey;
use crate::plan::{BackendKey, DesiredPort, DesiredService, Endings, Sizes, Subject};
use crate::reconcile::Reconciler;
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::FrontendKey;
use std::net::Ipv4Addr;
use std::time::Instant;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;

fn name(service: u32) -> ServiceKey {
    ServiceKey::new(format!("team-{}", service % 50), format!("service-{service}"))
}

fn desired(service: u32, endpoints: impl Iterator<Item = u32>) -> DesiredService {
    let address = Address::from(Ipv4Addr::from(0x0a60_0000 + service));
    let backend = |endpoint| BackendKey {
        address: Address::from(Ipv4Addr::from(0x0a80_0000 + service * 16 + endpoint)),
        port: Port::from_host(8080),
        protocol: Protocol::Tcp,
    };
    let port = DesiredPort {
        frontends: vec![FrontendKey::new(address, Port::from_host(80), Protocol::Tcp)],
        fenced: false,
        algorithm: Algorithm::Random,
        hash: HashBy::Client,
        outlier: false,
        affinity_timeout: 0,
        slots: endpoints.map(backend).collect(),
        kept: Vec::new(),
        endings: Endings::default(),
    };
    DesiredService { addresses: vec![address], ports: vec![port], ..DesiredService::default() }
}

fn fill<M: Maps>(maps: M) -> Reconciler<M> {
    let mut agent = Reconciler::new(maps);
    for service in 0..SERVICES {
        agent.set(name(service), Some(desired(service, 0..ENDPOINTS)));
    }
    agent.sync(Instant::now());
    assert_eq!(agent.pending().count(), 0);
    agent
}

fn is_whole<M: Maps>(agent: &Reconciler<M>) {
    let services: Vec<_> = (0..SERVICES).map(|service| desired(service, 0..ENDPOINTS)).collect();
    assert_eq!(meaning(agent.maps()), expected_of(services.iter()));
    let used = agent.applied().used();
    assert_eq!((used.services, used.slots, used.backends), (SERVICES, SERVICES * ENDPOINTS, SERVICES * ENDPOINTS));
}

#[test]
fn a_large_cluster_fills_the_maps_and_one_change_touches_one_service() {
    let mut agent = fill(MemoryMaps::new(Sizes::default()));
    is_whole(&agent);
    // An endpoint goes, one comes: no hash is touched, so it is in force at once, and little else happens.
    let changed = desired(77, 1..=ENDPOINTS);
    let diff = crate::plan::diff(&Subject::Service(name(77)), Some(&changed), agent.applied());
    let steps: Vec<String> = diff.ops.iter().map(ToString::to_string).collect();
    assert_eq!(steps.len(), 4, "{steps:#?}");
    agent.set(name(77), Some(changed));
    agent.sync(Instant::now());
    assert_eq!(agent.pending().count(), 0);
    let counts = agent.service_counts(&name(77)).unwrap();
    assert_eq!(counts.ports[0].slots.len(), ENDPOINTS as usize);
    assert_eq!(counts.backends.len(), ENDPOINTS as usize + 1, "the one that went is counted until it is free");
}

#[test]
fn the_kernels_maps_are_filled_and_taken_over() {
    let agent = fill(KernelMaps::new(KernelFds::fresh(&Sizes::default(), 1024).unwrap()).unwrap());
    is_whole(&agent);
    let adopted = crate::reconcile::adopt::adopt(agent.maps()).unwrap();
    assert_eq!(adopted.repairs, []);
    assert_eq!(adopted.applied.used(), agent.applied().used());
}
