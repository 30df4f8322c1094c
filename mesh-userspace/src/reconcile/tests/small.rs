//! An agent over maps in memory and Services of a few words, for cases that have a story.

use super::world::{cluster_ip, endpoint, name};
use crate::maps::{Maps, MemoryMaps};
use crate::plan::{BackendKey, DesiredPort, DesiredService, Endings, Sizes};
use crate::reconcile::Reconciler;
use mesh_common::address::{Port, Protocol};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::{BackendId, Connection, FrontendKey, ServiceId};
use std::time::Instant;

pub type Agent = Reconciler<MemoryMaps>;

pub fn frontend(service: u8, port: u16) -> FrontendKey {
    FrontendKey::new(cluster_ip(service + 1), Port::from_host(port), Protocol::Tcp)
}

pub fn port(service: u8, number: u16, endpoints: &[u8]) -> DesiredPort {
    DesiredPort {
        frontends: vec![frontend(service, number)],
        fenced: false,
        algorithm: Algorithm::Random,
        hash: HashBy::Client,
        outlier: false,
        affinity_timeout: 0,
        slots: endpoints.iter().map(|&e| endpoint(service, e, 80, Protocol::Tcp)).collect(),
        kept: Vec::new(),
        endings: Endings::default(),
    }
}

pub fn service(service: u8, ports: Vec<DesiredPort>) -> DesiredService {
    DesiredService { addresses: vec![cluster_ip(service + 1)], ports, ..DesiredService::default() }
}

pub fn simple(number: u8, endpoints: &[u8]) -> DesiredService {
    service(number, vec![port(number, 80, endpoints)])
}

pub fn key(service: u8, number: u8) -> BackendKey {
    endpoint(service, number, 80, Protocol::Tcp)
}

pub fn agent(sizes: Sizes) -> Agent {
    Reconciler::new(MemoryMaps::new(sizes))
}

pub fn put(agent: &mut Agent, number: u8, desired: Option<DesiredService>) {
    agent.set(name(number), desired);
    agent.sync(Instant::now());
}

pub fn grace(agent: &mut Agent) -> bool {
    let ticket = agent.begin_grace();
    if let Some(ticket) = ticket {
        agent.end_grace(ticket, &Ok(()));
        agent.sync(Instant::now());
    }
    ticket.is_some()
}

pub fn connect(agent: &mut Agent, cookie: u64, number: u8, backend: BackendId, flags: u32) -> ServiceId {
    let account = agent.applied().account_of(&name(number)).unwrap().id;
    let connection = Connection {
        frontend: frontend(number, 80),
        account,
        service: account,
        backend,
        netns: 1,
        opened_at: 1_000,
        flags,
        client: 0,
    };
    agent.maps_mut().insert_connection(cookie, connection);
    agent.maps().arrays().service(account).unwrap().active.fetch_add(1);
    agent.maps().arrays().backend(backend).unwrap().active.fetch_add(1);
    account
}

pub fn close(agent: &mut Agent, cookie: u64) {
    let connection = agent.maps_mut().take_connection(cookie).unwrap().unwrap();
    agent.maps().arrays().service(connection.account).unwrap().active.fetch_sub(1);
    agent.maps().arrays().backend(connection.backend).unwrap().active.fetch_sub(1);
}

pub fn id(agent: &Agent, number: u8, backend: u8) -> BackendId {
    let counts = agent.service_counts(&name(number)).unwrap();
    counts.backends.iter().find(|b| b.key == key(number, backend)).unwrap().id
}
