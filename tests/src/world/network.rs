//! The node of a world: a network namespace of its own, a bridge in it, and the addresses of the pods behind.
//!
//! The machine's own interfaces, routes and rules are never touched: everything is inside namespaces that the world made.

use super::netns::Netns;
use crate::wait::wait_for;
use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

/// The node's namespace, with the pods' bridge.
#[derive(Debug)]
pub struct Network {
    node: Netns,
    next: AtomicU16,
}

/// The two addresses of a pod, or of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// In 10.244.0.0/16.
    pub v4: Ipv4Addr,
    /// In `fd00:10:244::/64`.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// The node's own, as the pods see it: their gateway.
    pub const NODE: Self = Self::numbered(1);

    const fn numbered(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self { v4: Ipv4Addr::new(10, 244, high, low), v6: Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, number) }
    }
}

/// ICMP errors at once and always: by default the kernel sends one a second to each peer.
const NO_RATE_LIMIT: [(&str, &str); 2] = [("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0")];

impl Network {
    /// Makes the node's namespace, bound to `path`.
    pub fn create(path: PathBuf) -> Result<Self> {
        let node = Netns::create(path)?;
        node.sysctl(&NO_RATE_LIMIT)?;
        // The node forwards, so that an address that nobody has is answered with an error and not with silence.
        node.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
        let Addresses { v4, v6 } = Addresses::NODE;
        node.ip(&format!(
            "link set lo up\n\
             link add pods type bridge mcast_snooping 0\n\
             link set pods addrgenmode none up\n\
             addr add {v4}/16 dev pods\n\
             addr add {v6}/64 dev pods nodad\n"
        ))?;
        Ok(Self { node, next: AtomicU16::new(2) })
    }

    /// The node's own namespace: of pods with `hostNetwork`, and of the agent.
    pub fn node(&self) -> &Netns {
        &self.node
    }

    /// Makes the namespace of another node, bound to `path`: its bridge and this node's are one network.
    pub fn neighbour(&self, path: PathBuf) -> Result<Netns> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Addresses { v4, v6 } = Addresses::numbered(number);
        let node = Netns::create(path)?;
        node.sysctl(&NO_RATE_LIMIT)?;
        self.node.ip(&format!(
            "link add node{number} type veth peer name uplink netns {}\n\
             link set node{number} addrgenmode none master pods up\n",
            node.path().display(),
        ))?;
        node.ip(&format!(
            "link set lo up\n\
             link add pods type bridge mcast_snooping 0\n\
             link set pods addrgenmode none up\n\
             link set uplink addrgenmode none master pods up\n\
             addr add {v4}/16 dev pods\n\
             addr add {v6}/64 dev pods nodad\n"
        ))?;
        self.node.run(|| wait_until_running(&format!("node{number}")))?;
        node.run(|| wait_until_running("uplink"))?;
        Ok(node)
    }

    /// Makes a pod's namespace, bound to `path`, and plugs it into the bridge. Its link is up when this returns.
    pub fn plug(&self, path: PathBuf) -> Result<(Netns, Addresses)> {
        self.plug_at(&self.node, path)
    }

    /// The same on a node of [`Network::neighbour`].
    pub fn plug_at(&self, node: &Netns, path: PathBuf) -> Result<(Netns, Addresses)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let addresses = Addresses::numbered(number);
        let pod = Netns::create(path)?;
        pod.sysctl(&NO_RATE_LIMIT)?;
        node.ip(&format!(
            "link add pod{number} type veth peer name eth0 netns {}\n\
             link set pod{number} addrgenmode none master pods up\n",
            pod.path().display(),
        ))?;
        let Addresses { v4: gateway_v4, v6: gateway_v6 } = Addresses::NODE;
        pod.ip(&format!(
            "link set lo up\n\
             link set eth0 addrgenmode none up\n\
             addr add {}/16 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n\
             route add default via {gateway_v4}\n\
             route add ::/0 via {gateway_v6}\n",
            addresses.v4, addresses.v6,
        ))?;
        // Until both ends have their carrier the first packets would be lost, and a SYN is sent again only after 1 s.
        node.run(|| wait_until_running(&format!("pod{number}")))?;
        pod.run(|| wait_until_running("eth0"))?;
        Ok((pod, addresses))
    }
}

fn wait_until_running(interface: &str) -> Result<()> {
    wait_for(&format!("{interface} to have a carrier"), || {
        let mut found = getifaddrs().context("list interfaces")?;
        let link = found.find(|link| link.interface_name == interface).context("not there")?;
        let running = link.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        if running { Ok(()) } else { Err(anyhow::anyhow!("flags {:?}", link.flags)) }
    })
}
