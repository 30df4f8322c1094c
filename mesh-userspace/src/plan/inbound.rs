//! Limits on what arrives at the backends of this node, from a Service's policy.

use super::BackendKey;
use super::compile::ServiceView;
use crate::model::Place;
use mesh_common::address::{Port, Protocol};
use mesh_common::tables::UNLIMITED;
use std::collections::BTreeMap;

/// How many connections may be open to a backend, from wherever; [`UNLIMITED`] for any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InboundLimit {
    /// More are refused.
    pub limit: u64,
    /// More are counted, and pass.
    pub observed: u64,
}

impl InboundLimit {
    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { limit: self.limit.min(other.limit), observed: self.observed.min(other.observed) }
    }
}

/// Backends with their limits.
pub type InboundLimits = BTreeMap<BackendKey, InboundLimit>;

/// The limits that a Service's policy asks for: of every endpoint on this node, whether it takes new connections or not. A
/// Service that is not served (a headless one) asks for nothing.
pub fn limits(view: ServiceView<'_>, here: Place<'_>) -> InboundLimits {
    let Some(limits) = view.policy.map(|policy| policy.limits) else { return InboundLimits::new() };
    let Some(most) = limits.max_inbound_connections_per_backend else { return InboundLimits::new() };
    let limit = if limits.observe {
        InboundLimit { limit: UNLIMITED, observed: most }
    } else {
        InboundLimit { limit: most, observed: UNLIMITED }
    };
    backends(view, here).map(|backend| (backend, limit)).collect()
}

/// The Service's TCP backends that are on this node, whether they take new connections or not; one that names no node may be.
pub fn backends<'a>(view: ServiceView<'a>, here: Place<'a>) -> impl Iterator<Item = BackendKey> + 'a {
    let is_port = move |name: &str| {
        let mut ports = view.service.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
        ports.any(|port| *port.name == *name)
    };
    view.slices.iter().flat_map(move |slice| {
        let targets =
            slice.ports.iter().filter(move |target| target.protocol == Protocol::Tcp && is_port(&target.name));
        targets.flat_map(move |target| {
            let here =
                slice.endpoints.iter().filter(move |endpoint| endpoint.node.is_empty() || *endpoint.node == *here.node);
            here.map(move |endpoint| {
                let (address, port) = (endpoint.address.into(), Port::from_host(target.port));
                BackendKey { address, port, protocol: Protocol::Tcp }
            })
        })
    })
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
