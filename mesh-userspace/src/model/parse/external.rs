//! A Service's addresses besides its ClusterIPs.

use super::address;
use super::report::Report;
use crate::model::{NoRange, Range};
use k8s_openapi::api::core::v1 as core;
use std::net::IpAddr;

/// Addresses that are not of the service range.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Of the load balancer, for the node to serve itself.
    pub(super) load_balancer: Vec<IpAddr>,
    /// Who may reach those.
    pub(super) source_ranges: Vec<Range>,
    /// `spec.externalIPs`.
    pub(super) external: Vec<IpAddr>,
}

/// Both kinds, each address once.
pub(super) fn addresses(report: &mut Report, object: &core::Service, spec: &core::ServiceSpec) -> Addresses {
    let mut found = Addresses::default();
    for (i, text) in spec.external_ips.iter().flatten().enumerate() {
        match address::service(text) {
            Ok(ip) => add(&mut found.external, ip),
            Err(why) => report.reject(
                format!("spec.externalIPs[{i}]"),
                format!("{text:?} {}", why.0),
                "write an IPv4 or IPv6 address, or remove it",
            ),
        }
    }
    let ingress = object.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    for (i, point) in ingress.into_iter().flatten().enumerate() {
        // With ipMode Proxy the load balancer itself must see the connection (KEP-1860).
        let Some(text) = point.ip.as_deref().filter(|_| point.ip_mode.as_deref().unwrap_or("VIP") == "VIP") else {
            continue;
        };
        match address::service(text) {
            Ok(ip) => add(&mut found.load_balancer, ip),
            // The status is the load balancer's, not the owner's: the rest of the Service goes on.
            Err(why) => report.unsupported(
                format!("status.loadBalancer.ingress[{i}].ip"),
                format!("{text:?} {}", why.0),
                "see what the load balancer's controller wrote there",
            ),
        }
    }
    for (i, text) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        match text.trim().parse() {
            Ok(range) => found.source_ranges.push(range),
            Err(NoRange) => report.reject(
                format!("spec.loadBalancerSourceRanges[{i}]"),
                format!("{text:?} is no range of addresses"),
                "write it as 192.0.2.0/24 or 2001:db8::/32",
            ),
        }
    }
    found
}

fn add(addresses: &mut Vec<IpAddr>, ip: IpAddr) {
    if !addresses.contains(&ip) {
        addresses.push(ip);
    }
}
