//! Which interface of the node leads to which address: a virtual Ethernet pair has one end here and the other, with the address,
//! in the pod's network namespace.
//!
//! The kernel tells of the other end its namespace's id and its index there (`IFLA_LINK_NETNSID`, `IFLA_LINK`), and lists the
//! addresses of a namespace by that id (`IFA_TARGET_NETNSID`, Linux 5.0): no pod is entered, and none of its processes is looked
//! for. Indexes and addresses that repeat in other namespaces do no harm.

use crate::netlink::Rtnetlink;
use mesh_common::address::Address;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;

/// The node's end of a pod's interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interface {
    /// Its index on the node.
    pub index: u32,
    /// The id of the pod's network namespace, as the node's own numbers it.
    pub netns: u32,
}

/// Finds the interfaces that lead to these addresses, from the calling thread's network namespace.
pub fn find(addresses: &HashSet<Address>) -> io::Result<HashMap<Address, Interface>> {
    let mut found = HashMap::new();
    if addresses.is_empty() {
        return Ok(found);
    }
    let netlink = Rtnetlink::route()?;
    for (netns, ends) in pairs(&netlink)? {
        let id = i32::try_from(netns).map_err(io::Error::other)?;
        for (index, address) in match self::addresses(&netlink, id) {
            Ok(addresses) => addresses,
            // It went meanwhile.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENONET)) => continue,
            Err(error) => return Err(error),
        } {
            if let (true, Some(&index)) = (addresses.contains(&address), ends.get(&index)) {
                found.insert(address, Interface { index, netns });
            }
        }
    }
    Ok(found)
}

/// By namespace: the index of each pair's end there, and that of its end here.
fn pairs(netlink: &Rtnetlink) -> io::Result<BTreeMap<u32, HashMap<u32, u32>>> {
    let mut pairs: BTreeMap<u32, HashMap<u32, u32>> = BTreeMap::new();
    netlink.list(RouteNetlinkMessage::GetLink(LinkMessage::default()), |answer| {
        let RouteNetlinkMessage::NewLink(link) = answer else { return };
        let (mut netns, mut there, mut is_pair) = (None, None, false);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::LinkNetNsId(id) => netns = u32::try_from(*id).ok(),
                LinkAttribute::Link(index) => there = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    is_pair = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
                }
                _ => {}
            }
        }
        if let (Some(netns), Some(there), true) = (netns, there, is_pair) {
            pairs.entry(netns).or_default().insert(there, link.header.index);
        }
    })?;
    Ok(pairs)
}

/// The addresses in a namespace, each with its interface's index there.
fn addresses(netlink: &Rtnetlink, netns: i32) -> io::Result<Vec<(u32, Address)>> {
    let mut all = Vec::new();
    let mut question = AddressMessage::default();
    question.attributes.push(AddressAttribute::TargetNetNsId(netns));
    netlink.list(RouteNetlinkMessage::GetAddress(question), |answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return };
        // Of a point-to-point address the peer's comes as `Address`, the own one as `Local`.
        let mut own: Option<IpAddr> = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => own = Some(*ip),
                AddressAttribute::Address(ip) => own = own.or(Some(*ip)),
                _ => {}
            }
        }
        all.extend(own.map(|ip| (message.header.index, ip.into())));
    })?;
    Ok(all)
}

/// Calls this whenever an interface of the calling thread's network namespace comes, goes or changes, or if wanted filters there do;
/// returns only when that says `false`, or the kernel does not tell any more.
pub fn follow(with_filters: bool, mut changed: impl FnMut() -> bool) -> io::Result<()> {
    let mut netlink = Socket::new(NETLINK_ROUTE)?;
    netlink.bind_auto()?;
    netlink.add_membership(libc::RTNLGRP_LINK)?;
    if with_filters {
        netlink.add_membership(libc::RTNLGRP_TC)?;
    }
    while changed() {
        match netlink.recv_from_full() {
            // More happened than the kernel keeps for us: that something did is all that matters.
            Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
