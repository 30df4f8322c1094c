//! Addresses that are not the cluster's own, as clients in the cluster reach them: 5, 14 to 17.

use super::endpoints::tcp;
use crate::cluster::machine;
use crate::conformance::look;
use crate::conformance::pods::NODES_OWN;
use crate::conformance::{Bed, Case};
use crate::echo::Transport;
use crate::manifest::{Service, service, slice};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Ports at which `host-2` itself answers, at its node's address.
const PROXIED: u16 = NODES_OWN[0];
const EXTERNAL: u16 = NODES_OWN[1];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            5,
            "`externalTrafficPolicy: Local`: clients in the cluster reach all endpoints by the load balancer's address",
            "`client-1` connects; `client-3` does",
            |bed| balanced(bed, service("outside-local").spec("externalTrafficPolicy", "Local"), "outside-local", 80, "near-1"),
            |bed| {
                let to = at(bed, "outside-local", 1, 80)?;
                Ok(format!("{}; {}", from(bed, "client-1", to, "near-1")?, from(bed, "client-3", to, "near-1")?))
            },
        ),
        Case::new(
            14,
            "a load balancer's address is served on the node",
            "`client-1` connects; `host-1` does",
            |bed| balanced(bed, service("balanced"), "balanced", 80, "near-1"),
            |bed| {
                let to = at(bed, "balanced", 2, 80)?;
                Ok(format!("{}; {}", from(bed, "client-1", to, "near-1")?, from(bed, "host-1", to, "near-1")?))
            },
        ),
        Case::new(
            14,
            "with `ipMode: Proxy` the address is left alone: the balancer itself answers",
            "`client-1` connects to the address, which is `host-2`'s",
            |bed| balanced(bed, service("proxied"), "proxied", PROXIED, "near-1"),
            |bed| {
                let to: SocketAddr = (machine(2)[0], PROXIED).into();
                bed.ingress("proxied", to.ip(), "Proxy")?;
                let seen = look::tcp(&*bed.client("client-1")?, bed.service("proxied", PROXIED)?, "near-1")?;
                Ok(format!("{}, and {seen} at the ClusterIP", from(bed, "client-1", to, "host-2")?))
            },
        ),
        Case::new(
            15,
            "`loadBalancerSourceRanges` hold at the load balancer's address, and only there",
            "`client-1`, which is in the range, connects; `client-2`, which is not, does; `client-2` at the ClusterIP",
            |bed| {
                let range = bed.pod("client-1").map(|address| format!("{address}/32")).unwrap_or_default();
                balanced(bed, service("fenced").spec("loadBalancerSourceRanges", json!([range])), "fenced", 80, "near-1")
            },
            |bed| {
                let to = at(bed, "fenced", 3, 80)?;
                let allowed = from(bed, "client-1", to, "near-1")?;
                let other = look::answers(&*bed.client("client-2")?, Transport::Tcp, to)?;
                let words = [anybody(allowed), anybody(other), tcp(bed, "client-2", "fenced", "near-1")?];
                Ok(words.join("; "))
            },
        ),
        Case::new(
            17,
            "`healthCheckNodePort` says whether a node has an endpoint: 200, or 503",
            "`client-1` asks its node, which has one; the other, which has none; its own when the endpoint is not ready",
            |bed| {
                let service = service("checked").spec("externalTrafficPolicy", "Local");
                balanced(bed, service, "checked", 80, "near-1")
            },
            |bed| {
                bed.apply(&[bed.ready(slice("checked").tcp(8080), &["near-1"]).value()])?;
                tcp(bed, "client-1", "checked", "near-1")?;
                let client = bed.client("client-1")?;
                let port = bed.get(&["service", "checked"])?["spec"]["healthCheckNodePort"].as_u64();
                let port = u16::try_from(port.context("it has a healthCheckNodePort")?)?;
                let ask = |node, wanted: &str| -> Result<String> {
                    look::settle(wanted, || {
                        let status = client.get((machine(node)[0], port), "/");
                        Ok(status.map_or_else(|error| look::told(Err(error)), |status| status.to_string()))
                    })
                };
                let (here, there) = (ask(1, "200")?, ask(2, "503")?);
                let away = json!({"conditions": {"ready": false, "serving": false, "terminating": false}});
                bed.apply(&[bed.endpoint(slice("checked").tcp(8080), "near-1", &away).value()])?;
                Ok(format!("{here}; {there}; {}", ask(1, "503")?))
            },
        ),
        Case::new(
            16,
            "an external IP does not take over an address that is somebody's",
            "`client-1` connects to `host-2`'s address, which a Service names as its external IP",
            |bed| {
                let node = machine(2)[0].to_string();
                let port = json!([{"name": "tcp-8080", "port": EXTERNAL, "targetPort": 8080}]);
                let service = service("external").spec("ports", port).spec("externalIPs", json!([node]));
                vec![service.value(), bed.ready(slice("external").tcp(8080), &["near-1"]).value()]
            },
            |bed| {
                let client = bed.client("client-1")?;
                look::tcp(&client, bed.service("external", EXTERNAL)?, "near-1")?;
                look::answers(&client, Transport::Tcp, (machine(2)[0], EXTERNAL).into())
            },
        )
        .better("whoever may create a Service could take any address from its owner (CVE-2020-8554): mesh serves external IPs only when it is switched on"),
    ]
}

/// A Service of type LoadBalancer with one port and one endpoint.
fn balanced(bed: &Bed, service: Service, name: &str, port: u16, pod: &str) -> Vec<Value> {
    let service = service.tcp(port, 8080).spec("type", "LoadBalancer");
    vec![service.value(), bed.ready(slice(name).tcp(8080), &[pod]).value()]
}

/// Gives the Service an address of its load balancer's, and waits until the Service is served at its ClusterIP.
fn at(bed: &Bed, service: &str, last: u8, port: u16) -> Result<SocketAddr> {
    let address = IpAddr::from(Ipv4Addr::new(203, 0, 113, last));
    bed.ingress(service, address, "VIP")?;
    look::tcp(&*bed.client("client-1")?, bed.service(service, port)?, "near-1")?;
    Ok((address, port).into())
}

/// Whether what nobody on the node serves is lost or refused is up to the network behind.
fn anybody(seen: String) -> String {
    if seen.contains("near") { seen } else { "nobody answers".to_owned() }
}

fn from(bed: &Bed, pod: &'static str, to: SocketAddr, wanted: &str) -> Result<String> {
    look::tcp(&*bed.client(pod)?, to, wanted)
}
