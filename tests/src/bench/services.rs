//! Services by number: their addresses, their endpoints, and what the maps should hold of them.

use mesh_common::address::{Address, Port, Protocol};
use mesh_common::select::{Algorithm, HashBy};
use mesh_common::tables::FrontendKey;
use mesh_userspace::model::ServiceKey;
use mesh_userspace::plan::{BackendKey, DesiredPort, DesiredService, Endings};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The port that each Service lists.
pub const PORT: u16 = 80;

/// The port of the endpoints.
pub const TARGET: u16 = 8080;

/// The address of a Service, in 10.96.0.0/12.
pub fn cluster_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 1).to_bits() + number)
}

/// What clients of a Service dial.
pub fn frontend(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(cluster_ip(number), PORT)
}

/// An endpoint that nobody else has, in 10.128.0.0/9.
pub fn endpoint(service: u32, endpoint: u32, endpoints: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 1).to_bits() + service * endpoints + endpoint)
}

/// An endpoint that nobody else has, one of the pod with this number, whose addresses are [`endpoints_of`].
pub fn endpoint_at(service: u32, pod: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128 + pod, 0, 0).to_bits() + service)
}

/// The addresses of all endpoints that a pod stands for: a /16 of 10.128.0.0/9, enough for 65,535 Services.
pub fn endpoints_of(pod: u8) -> String {
    format!("10.{}.0.0/16", 128 + pod)
}

/// What the maps should hold of a Service without limits.
pub fn desired(
    number: u32,
    protocol: Protocol,
    backends: impl IntoIterator<Item = Ipv4Addr>,
) -> (ServiceKey, DesiredService) {
    let backend =
        |address: Ipv4Addr| BackendKey { address: Address::from(address), port: Port::from_host(TARGET), protocol };
    let mut slots: Vec<_> = backends.into_iter().map(backend).collect();
    slots.sort();
    let address = Address::from(cluster_ip(number));
    let port = DesiredPort {
        frontends: vec![FrontendKey::new(address, Port::from_host(PORT), protocol)],
        fenced: false,
        algorithm: Algorithm::Random,
        hash: HashBy::Client,
        outlier: false,
        affinity_timeout: 0,
        slots,
        kept: Vec::new(),
        endings: Endings::default(),
    };
    let desired = DesiredService { addresses: vec![address], ports: vec![port], ..DesiredService::default() };
    (ServiceKey::new("bench", name(number)), desired)
}

/// The name of a Service.
pub fn name(number: u32) -> String {
    format!("service-{number}")
}
