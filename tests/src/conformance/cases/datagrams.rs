//! What becomes of UDP senders when endpoints change: 22 and 23.

use crate::client::Datagrams;
use crate::conformance::look;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{service, slice};
use serde_json::Value;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            22,
            "a UDP sender that does not connect follows its Service, with the same socket",
            "`client-1` sends to `near-1`; it is replaced by `far-1`; and `far-1` by `near-2`",
            |bed| udp("sender", bed, "near-1"),
            |bed| {
                let (client, to) = (bed.client("client-1")?, bed.service("sender", 53)?);
                look::udp(&client, to, "near-1")?;
                let socket = client.udp()?;
                let mut seen = vec![look::settle("near-1", || Ok(look::datagram(&socket, to)))?];
                for pod in ["far-1", "near-2"] {
                    bed.apply(&udp("sender", bed, pod))?;
                    look::udp(&client, to, pod)?;
                    seen.push(look::settle(pod, || Ok(latest(&socket, to)))?);
                }
                Ok(seen.join("; "))
            },
        ),
        Case::new(
            22,
            "it is told when its Service has no endpoint any more, and reaches the next",
            "`client-1` sends; the Service is scaled to zero; it is brought back",
            |bed| udp("emptied", bed, "near-1"),
            |bed| {
                let (client, to) = (bed.client("client-1")?, bed.service("emptied", 53)?);
                look::udp(&client, to, "near-1")?;
                let socket = client.udp()?;
                let mut seen = vec![look::settle("near-1", || Ok(look::datagram(&socket, to)))?];
                for (pod, wanted) in [("", "ECONNREFUSED"), ("near-1", "near-1")] {
                    bed.apply(&udp("emptied", bed, pod))?;
                    if pod.is_empty() {
                        look::refused(&client, Transport::Udp, to)?;
                    } else {
                        look::udp(&client, to, wanted)?;
                    }
                    let answer = look::settle(wanted, || Ok(latest(&socket, to)))?;
                    // kube-proxy's rules may know the flow for a while, or not: what counts is whether there is an error.
                    let told = answer == wanted || !pod.is_empty();
                    seen.push(if told { answer } else { "no error".to_owned() });
                }
                Ok(seen.join("; "))
            },
        )
        .better("with kube-proxy the datagrams of a socket that is not connected go on to the endpoint that is gone, or vanish: an ICMP error is not shown to it"),
        Case::new(
            22,
            "it is told when its Service is deleted, and reaches the one that has its address next",
            "`client-1` sends; the Service is deleted; it is created anew",
            |bed| udp("deleted", bed, "near-1"),
            |bed| {
                let (client, to) = (bed.client("client-1")?, bed.service("deleted", 53)?);
                look::udp(&client, to, "near-1")?;
                let socket = client.udp()?;
                let first = look::settle("near-1", || Ok(look::datagram(&socket, to)))?;
                bed.kubectl(&["delete", "service", "deleted"])?;
                let told = look::settle("ECONNREFUSED", || Ok(latest(&socket, to)))?;
                let told = if told == "ECONNREFUSED" { told } else { "no error".to_owned() };
                let again = service("deleted").udp(53, 8080).spec("clusterIP", to.ip().to_string()).value();
                bed.apply(&[again, bed.ready(slice("deleted").udp(8080), &["near-1"]).value()])?;
                look::udp(&client, to, "near-1")?;
                Ok(format!("{first}; {told}; {}", look::settle("near-1", || Ok(latest(&socket, to)))?))
            },
        )
        .better("the datagrams of a socket that is not connected would vanish: for a minute its address goes on to refuse"),
        Case::new(
            23,
            "a connected UDP socket whose endpoint goes is ended, or translated anew",
            "`client-1` connects UDP to `near-1`, which is replaced by `far-1`: the same socket; a new one",
            |bed| udp("replaced", bed, "near-1"),
            |bed| {
                let (client, to) = (bed.client("client-1")?, bed.service("replaced", 53)?);
                look::udp(&client, to, "near-1")?;
                let socket = client.connect_udp(to)?;
                let first = look::told(socket.ask("who").map(|answer| answer.server));
                bed.apply(&udp("replaced", bed, "far-1"))?;
                let new = look::udp(&client, to, "far-1")?;
                let old = look::settle("far-1", || Ok(look::told(socket.ask("who").map(|answer| answer.server))))?;
                Ok(format!("{first}; {old}; {new}"))
            },
        )
        .better("the program learns that its peer is gone and asks for a new one, instead of going on in the middle of an exchange with a server that knows nothing of it"),
    ]
}

/// A Service with UDP port 53 and one endpoint, or none for an empty name.
fn udp(name: &str, bed: &Bed, pod: &str) -> Vec<Value> {
    let pods: &[&str] = if pod.is_empty() { &[] } else { &[pod] };
    vec![service(name).udp(53, 8080).value(), bed.ready(slice(name).udp(8080), pods).value()]
}

/// Who answers now: an answer to an earlier datagram may still lie in the queue.
fn latest(socket: &Datagrams, to: std::net::SocketAddr) -> String {
    let first = look::datagram(socket, to);
    if first == "silence" { first } else { look::datagram(socket, to) }
}
