//! The wire between the machines of a cluster: a bridge in a network namespace of its own.

use super::addresses::{CONTROL_PLANE, machine, pods};
use crate::world::{Home, Netns};
use anyhow::Result;
use std::fmt::Write;

/// The bridge. Each machine is a network namespace at one of its ports.
#[derive(Debug)]
pub(super) struct Switch {
    netns: Netns,
    nodes: u8,
}

/// No duplicate of an address can exist here, and looking for one takes a second for each interface.
const MACHINE: [(&str, &str); 4] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
];

impl Switch {
    /// A switch for the control plane and this many nodes.
    pub fn create(home: &Home, nodes: u8) -> Result<Self> {
        let netns = Netns::create(home.path("netns").join("switch"))?;
        netns.ip("link set lo up\n\
             link add machines type bridge mcast_snooping 0\n\
             link set machines addrgenmode none up\n")?;
        Ok(Self { netns, nodes })
    }

    /// Makes a machine's namespace, plugs it in, and teaches it the way to all pods.
    pub fn plug(&self, home: &Home, name: &str, number: u8) -> Result<Netns> {
        let netns = Netns::create(home.path("netns").join(name))?;
        netns.sysctl(&MACHINE)?;
        self.netns.ip(&format!(
            "link add port{number} type veth peer name eth0 netns {}\n\
             link set port{number} addrgenmode none master machines up\n",
            netns.path().display()
        ))?;
        let [v4, v6] = machine(number);
        // The link-local address that the kernel makes is what it asks for neighbours from when it forwards.
        let mut lines = format!(
            "link set lo up\n\
             link set eth0 up\n\
             addr add {v4}/24 dev eth0\n\
             addr add {v6}/64 dev eth0 nodad\n"
        );
        for other in (1..=self.nodes).filter(|&other| other != number) {
            for (range, gateway) in pods(other).iter().zip(machine(other)) {
                writeln!(lines, "route add {range} via {gateway}")?;
            }
        }
        if number != CONTROL_PLANE {
            // A packet to a ClusterIP needs a route before kube-proxy's rules see it.
            for (default, gateway) in ["0.0.0.0/0", "::/0"].iter().zip(machine(CONTROL_PLANE)) {
                writeln!(lines, "route add {default} via {gateway}")?;
            }
        }
        netns.ip(&lines)?;
        Ok(netns)
    }
}
