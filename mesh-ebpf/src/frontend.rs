//! What a destination is: a Service's port, a Service's address without that port, or nothing of ours.

use crate::left_alone;
use crate::maps::{ADDRESSES, FILTER, FRONTENDS, SERVICES, SETTINGS};
use mesh_common::address::{Port, Protocol};
use mesh_common::tables::{FilterBit, FrontendKey, Rule, ServiceId};

/// What a destination is.
pub enum Destination {
    /// No Service's address.
    Foreign,
    /// A Service's port: its entry.
    Service(ServiceId),
    /// A Service's address, on a port that the Service does not list: its account.
    Unlisted(ServiceId),
}

/// One bit test for most of what is not ours; one hash lookup for what is, and three for a `NodePort`. `netns` is the
/// client's network namespace. For a client that is left alone nothing is ours.
#[inline(always)]
pub fn find(frontend: &FrontendKey, netns: impl FnOnce() -> u64) -> Destination {
    match look_up(frontend, netns) {
        Destination::Foreign => Destination::Foreign,
        _ if left_alone::is_client() => Destination::Foreign,
        ours => ours,
    }
}

#[inline(always)]
fn look_up(frontend: &FrontendKey, netns: impl FnOnce() -> u64) -> Destination {
    let bit = FilterBit::of(&frontend.address);
    match FILTER.get(bit.word) {
        Some(word) if *word & bit.mask != 0 => {}
        _ => return Destination::Foreign,
    }
    // SAFETY: an id never changes while its key lives, and the agent inserts nothing within a grace period of a delete:
    // a freed element is not another key's while this program runs.
    if let Some(id) = unsafe { FRONTENDS.get(frontend) } {
        return Destination::Service(*id);
    }
    // SAFETY: as above.
    match unsafe { ADDRESSES.get(frontend.address) } {
        Some(account) => match SERVICES.get(account.0) {
            Some(entry) if Rule::is_nodes(entry.rule.load()) => at_a_node(frontend, netns),
            _ => Destination::Unlisted(*account),
        },
        None => Destination::Foreign,
    }
}

/// What is dialled at a node's address: a `NodePort`, or what is the node's own business. A loopback address is the node's
/// only for clients in its network namespace.
#[inline(always)]
fn at_a_node(frontend: &FrontendKey, netns: impl FnOnce() -> u64) -> Destination {
    if frontend.address.is_loopback() && SETTINGS.get(0).is_none_or(|settings| settings.node_netns.load() != netns()) {
        return Destination::Foreign;
    }
    match node_port(!frontend.address.is_v4(), frontend.port.network().into(), frontend.protocol.into()) {
        0 => Destination::Foreign,
        id => Destination::Service(ServiceId(id)),
    }
}

/// The entry of a `NodePort`; 0 for none. A function of its own, of scalars: a second key in the caller's frame would make
/// that too large.
#[inline(never)]
fn node_port(v6: bool, port: u32, protocol: u32) -> u32 {
    let Some(protocol) = Protocol::from_number(protocol) else { return 0 };
    let key = FrontendKey::node_port(v6, Port::from_network(port as u16), protocol);
    // SAFETY: as in `find`.
    unsafe { FRONTENDS.get(key) }.map_or(0, |id| id.0)
}
