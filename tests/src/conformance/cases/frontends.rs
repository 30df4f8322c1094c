//! Which addresses answer: 10 to 13, 18 and 26.

use super::endpoints::{of, tcp};
use crate::cluster::machine;
use crate::conformance::look;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{service, slice};
use anyhow::Result;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            10,
            "a Service without endpoints refuses at once",
            "`client-1` connects TCP; UDP; `host-1` TCP",
            |_| vec![service("empty").tcp(80, 8080).udp(53, 8080).value(), slice("empty").tcp(8080).udp(8080).value()],
            |bed| {
                let client = bed.client("client-1")?;
                let tcp = look::refused(&client, Transport::Tcp, bed.service("empty", 80)?)?;
                let udp = look::refused(&client, Transport::Udp, bed.service("empty", 53)?)?;
                let host = look::refused(&*bed.client("host-1")?, Transport::Tcp, bed.service("empty", 80)?)?;
                Ok(format!("{tcp}; {udp}; {host}"))
            },
        ),
        Case::new(
            10,
            "a Service without any EndpointSlice refuses at once",
            "`client-1` connects",
            |_| vec![service("bare").tcp(80, 8080).value()],
            |bed| look::refused(&*bed.client("client-1")?, Transport::Tcp, bed.service("bare", 80)?),
        ),
        Case::new(
            11,
            "a port that the Service does not list is refused",
            "`client-1` connects TCP; UDP",
            |bed| of("unlisted", |slice| bed.ready(slice, &["near-1"])),
            |bed| {
                tcp(bed, "client-1", "unlisted", "near-1")?;
                let (client, port) = (bed.client("client-1")?, bed.service("unlisted", 81)?);
                let tcp = look::refused(&client, Transport::Tcp, port)?;
                Ok(format!("{tcp}; {}", look::refused(&client, Transport::Udp, port)?))
            },
        ),
        Case::new(
            12,
            "a NodePort answers at each node's address",
            "`client-1` connects to its own node's; to the other's; `host-1` to its own node's",
            |bed| node_port("node-port", bed),
            |bed| {
                tcp(bed, "client-1", "node-port", "far-1, near-1")?;
                let port = bed.node_port("node-port")?;
                let mut seen = Vec::new();
                for (pod, node) in [("client-1", 1), ("client-1", 2), ("host-1", 1)] {
                    let to = (machine(node)[0], port).into();
                    seen.push(look::answers(&*bed.client(pod)?, Transport::Tcp, to)?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            12,
            "a NodePort answers datagrams at each node's address, too",
            "`client-1` connects UDP to its own node's; to the other's; `host-1` to the other's",
            |bed| {
                let service = service("node-udp").udp(80, 8080).spec("type", "NodePort");
                vec![service.value(), bed.ready(slice("node-udp").udp(8080), &["near-1"]).value()]
            },
            |bed| {
                let port = bed.node_port("node-udp")?;
                let mut seen = Vec::new();
                for (pod, node) in [("client-1", 1), ("client-1", 2), ("host-1", 2)] {
                    seen.push(look::udp(&*bed.client(pod)?, (machine(node)[0], port).into(), "near-1")?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            12,
            "a NodePort answers the node itself at 127.0.0.1",
            "`host-1` connects; `client-1` does, in its pod",
            |bed| node_port("loopback", bed),
            |bed| {
                tcp(bed, "host-1", "loopback", "far-1, near-1")?;
                tcp(bed, "client-1", "loopback", "far-1, near-1")?;
                let to = (Ipv4Addr::LOCALHOST, bed.node_port("loopback")?).into();
                let host = look::answers(&*bed.client("host-1")?, Transport::Tcp, to)?;
                Ok(format!("{host}; {}", look::answers(&*bed.client("client-1")?, Transport::Tcp, to)?))
            },
        )
        .better(
            "kube-proxy's nftables mode cannot serve loopback addresses; its iptables mode does, and people rely on it",
        ),
        Case::new(
            13,
            "`allocateLoadBalancerNodePorts: false`: there is no NodePort, and the load balancer's address is served",
            "`client-1` connects to the address; whether the Service has a NodePort",
            |bed| {
                let service = service("no-node-port").tcp(80, 8080).spec("type", "LoadBalancer");
                let service = service.spec("allocateLoadBalancerNodePorts", false);
                vec![service.value(), bed.ready(slice("no-node-port").tcp(8080), &["near-1"]).value()]
            },
            |bed| {
                let address = IpAddr::from(Ipv4Addr::new(203, 0, 113, 13));
                bed.ingress("no-node-port", address, "VIP")?;
                tcp(bed, "client-1", "no-node-port", "near-1")?;
                let seen = look::tcp(&*bed.client("client-1")?, (address, 80).into(), "near-1")?;
                Ok(format!("{seen}; {}", if bed.node_port("no-node-port").is_ok() { "it has" } else { "none" }))
            },
        ),
        Case::new(
            18,
            "a Service with the label `service.kubernetes.io/service-proxy-name` is another proxy's",
            "`client-1` connects",
            |bed| {
                let mut objects = of("foreign", |slice| bed.ready(slice, &["near-1"]));
                objects[0]["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "other"});
                objects
            },
            |bed| {
                tcp(bed, "client-1", "unlisted", "near-1")?;
                let to = bed.service("foreign", 80)?;
                let seen = look::answers(&*bed.client("client-1")?, Transport::Tcp, to)?;
                // Whether what nobody serves is lost or refused is up to the network behind.
                Ok(if seen.contains("near") { seen } else { "nobody answers".to_owned() })
            },
        ),
        Case::new(
            18,
            "a headless Service is its pods' addresses",
            "`client-1` looks the name up; connects to what it found",
            |bed| {
                let headless = service("headless").tcp(80, 8080).spec("clusterIP", "None");
                vec![headless.value(), bed.ready(slice("headless").tcp(8080), &["near-1"]).value()]
            },
            headless,
        ),
        Case::new(
            26,
            "TCP and UDP on one port number are separate",
            "`client-1` connects TCP; UDP",
            |bed| {
                let first = bed.ready(slice("twice").named("twice-tcp").tcp(8080), &["near-1"]);
                let second = bed.ready(slice("twice").named("twice-udp").udp(8080), &["far-1"]);
                vec![service("twice").tcp(80, 8080).udp(80, 8080).value(), first.value(), second.value()]
            },
            |bed| {
                let (client, to) = (bed.client("client-1")?, bed.service("twice", 80)?);
                Ok(format!("{}; {}", look::tcp(&client, to, "near-1")?, look::udp(&client, to, "far-1")?))
            },
        ),
    ]
}

fn node_port(name: &str, bed: &Bed) -> Vec<Value> {
    let service = service(name).tcp(80, 8080).spec("type", "NodePort");
    vec![service.value(), bed.ready(slice(name).tcp(8080), &["near-1", "far-1"]).value()]
}

fn headless(bed: &Bed) -> Result<String> {
    let client = bed.client("client-1")?;
    let name = "headless.default.svc.cluster.local";
    let pod = bed.pod("near-1")?;
    let found = look::settle("near-1", || {
        let addresses = client.resolve(name)?;
        Ok(if addresses == [pod] { "near-1".to_owned() } else { format!("{addresses:?}") })
    })?;
    Ok(format!("{found}; {}", look::tcp(&client, (pod, 8080).into(), "near-1")?))
}
