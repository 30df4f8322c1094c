//! What sockets are shown, and who reaches whom: 6, 20, 21 and 25.

use super::endpoints::of;
use crate::conformance::look;
use crate::conformance::pods::HOST_PORT;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{service, slice, slice_v6};
use anyhow::Result;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            6,
            "an endpoint sees the client's own address",
            "`client-1` connects through a ClusterIP to `near-1`; to `far-1`",
            |bed| [of("source-near", |slice| bed.ready(slice, &["near-1"])), of("source-far", |slice| bed.ready(slice, &["far-1"]))].concat(),
            |bed| {
                let mut seen = Vec::new();
                for (name, pod) in [("source-near", "near-1"), ("source-far", "far-1")] {
                    seen.push(source(bed, "client-1", bed.service(name, 80)?, pod)?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            20,
            "a pod reaches itself through its own Service",
            "`near-2` connects TCP; UDP",
            |bed| both("itself", bed, "near-2"),
            |bed| {
                let client = bed.client("near-2")?;
                let tcp = look::tcp(&client, bed.service("itself", 80)?, "near-2")?;
                Ok(format!("{tcp}; {}", look::udp(&client, bed.service("itself", 53)?, "near-2")?))
            },
        ),
        Case::new(
            20,
            "and sees its own address as the client's",
            "`near-2` connects and is told whom it sees",
            |bed| both("itself-seen", bed, "near-2"),
            |bed| source(bed, "near-2", bed.service("itself-seen", 80)?, "near-2"),
        )
        .better("the connection is an ordinary one from the pod to itself; kube-proxy must rewrite its source to be in between"),
        Case::new(
            21,
            "host clients reach an endpoint on their node and on another",
            "`host-1` connects TCP to `near-1`; UDP; TCP to `far-1`; UDP",
            |bed| [both("host-near", bed, "near-1"), both("host-far", bed, "far-1")].concat(),
            |bed| {
                let client = bed.client("host-1")?;
                let mut seen = Vec::new();
                for (name, pod) in [("host-near", "near-1"), ("host-far", "far-1")] {
                    seen.push(look::tcp(&client, bed.service(name, 80)?, pod)?);
                    seen.push(look::udp(&client, bed.service(name, 53)?, pod)?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            21,
            "endpoints with the node's network answer pods and host clients",
            "`client-1` connects to `host-1`; `client-1` to `host-2`; `host-1` to `host-2`; `host-1` to itself",
            |bed| {
                let objects = |name, pod| {
                    let slice = bed.ready(slice(name).tcp(HOST_PORT), &[pod]);
                    [service(name).tcp(80, HOST_PORT).value(), slice.value()]
                };
                [objects("to-host-1", "host-1"), objects("to-host-2", "host-2")].concat()
            },
            |bed| {
                let mut seen = Vec::new();
                for (pod, name) in [("client-1", "host-1"), ("client-1", "host-2"), ("host-1", "host-2"), ("host-1", "host-1")] {
                    seen.push(look::tcp(&*bed.client(pod)?, bed.service(&format!("to-{name}"), 80)?, name)?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            23,
            "getpeername and recvfrom show the Service's address",
            "`client-1` connects TCP; connects UDP; sends a datagram and sees who answers",
            |bed| both("shown", bed, "far-1"),
            shown,
        ),
        Case::new(
            25,
            "a dual-stack Service has endpoints of its own in each family",
            "`host-1` connects TCP with IPv4; with IPv6; UDP with IPv6",
            |bed| {
                let service = service("dual").tcp(80, 8080).udp(53, 8080).spec("ipFamilyPolicy", "RequireDualStack");
                let (v4, v6) = (slice("dual").tcp(8080).udp(8080), slice_v6("dual").tcp(8080).udp(8080));
                vec![service.value(), bed.ready(v4, &["near-1"]).value(), bed.ready(v6, &["far-1"]).value()]
            },
            |bed| {
                let client = bed.client("host-1")?;
                let seen = [
                    look::tcp(&client, bed.service("dual", 80)?, "near-1")?,
                    look::tcp(&client, bed.service_v6("dual", 80)?, "far-1")?,
                    look::udp(&client, bed.service_v6("dual", 53)?, "far-1")?,
                ];
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            25,
            "an IPv6 socket reaches the Service by its v4-mapped address",
            "`client-1` connects TCP; UDP",
            |bed| both("mapped", bed, "far-1"),
            |bed| {
                let client = bed.client("client-1")?;
                let tcp = look::tcp(&client, mapped(bed.service("mapped", 80)?), "far-1")?;
                Ok(format!("{tcp}; {}", look::udp(&client, mapped(bed.service("mapped", 53)?), "far-1")?))
            },
        ),
    ]
}

/// A Service with TCP port 80 and UDP port 53, and one endpoint.
pub fn both(name: &str, bed: &Bed, pod: &str) -> Vec<Value> {
    let slice = bed.ready(slice(name).tcp(8080).udp(8080), &[pod]);
    vec![service(name).tcp(80, 8080).udp(53, 8080).value(), slice.value()]
}

/// Whose address the server sees.
fn source(bed: &Bed, pod: &'static str, to: SocketAddr, server: &str) -> Result<String> {
    let client = bed.client(pod)?;
    look::tcp(&client, to, server)?;
    let seen = client.connect(to)?.ask("whom do you see?")?.client.ip();
    Ok(if seen == bed.pod(pod)? { "its own" } else { "another" }.to_owned())
}

fn shown(bed: &Bed) -> Result<String> {
    let client = bed.client("client-1")?;
    let (tcp, udp) = (bed.service("shown", 80)?, bed.service("shown", 53)?);
    look::answers(&client, Transport::Tcp, tcp)?;
    look::tcp(&client, tcp, "far-1")?;
    look::udp(&client, udp, "far-1")?;
    let word = |seen: SocketAddr, service| if seen == service { "the Service" } else { "another" };
    let held = client.connect(tcp)?;
    let connected = client.connect_udp(udp)?;
    let (_, from) = client.udp()?.ask_at(udp, "who")?;
    Ok([word(held.peer()?, tcp), word(connected.peer()?, udp), word(from, udp)].join("; "))
}

fn mapped(to: SocketAddr) -> SocketAddr {
    let address = match to.ip() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    (address.to_ipv6_mapped(), to.port()).into()
}
