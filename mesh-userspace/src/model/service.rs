//! A Service as the data path can serve it.

use super::{Drain, Range, ServiceKey};
use mesh_common::address::Protocol;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A Service. Headless Services, `ExternalName`, and those labelled `service.kubernetes.io/service-proxy-name` are
/// parsed, too, with [`Service::ignored`] saying why they are left alone (SEMANTICS 18).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `clusterIPs`, one for each family served.
    pub cluster_ips: Vec<IpAddr>,
    /// The load balancer's addresses that the node serves itself: `status.loadBalancer.ingress` with `ipMode` VIP or absent
    /// (SEMANTICS 14).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: who may reach these, by its own address (SEMANTICS 15). A family without a range is open
    /// to all, as with kube-proxy.
    pub source_ranges: Vec<Range>,
    /// `spec.externalIPs`: served only where the agent is told to (SEMANTICS 16).
    pub external_ips: Vec<IpAddr>,
    /// `spec.healthCheckNodePort`: where load balancers ask whether this node has endpoints (SEMANTICS 17); only with
    /// `externalTrafficPolicy: Local`.
    pub health_check_port: Option<u16>,
    /// TCP and UDP ports. Others are reported and left out.
    pub ports: Vec<ServicePort>,
    /// `internalTrafficPolicy`.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// `trafficDistribution`.
    pub traffic_distribution: TrafficDistribution,
    /// `sessionAffinity: ClientIP` with how long a client may stay away and keep its backend, one second to a day; `None`
    /// for no affinity.
    pub session_affinity: Option<Duration>,
    /// Why the Service is not served; `None` for one that is.
    pub ignored: Option<&'static str>,
    /// `metadata.creationTimestamp` as RFC 3339 (sorts by time); empty when absent. The older wins a conflict.
    pub created: Arc<str>,
    /// What becomes of connections to a removed endpoint; annotation `mesh.dev/drain`.
    pub drain: Drain,
}

impl Service {
    /// Whether `loadBalancerSourceRanges` say who may reach an address of its load balancer.
    pub fn is_fenced(&self, ip: IpAddr) -> bool {
        self.load_balancer_ips.contains(&ip) && self.source_ranges.iter().any(|range| range.is_ipv6() == ip.is_ipv6())
    }

    /// Whether a client with this address is in the ranges.
    pub fn is_in_range(&self, client: IpAddr) -> bool {
        self.source_ranges.iter().any(|range| range.contains(client))
    }
}

/// One port of a Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePort {
    /// The port's name; empty for a Service's only, unnamed port. Joins with the endpoint slices' port names.
    pub name: Arc<str>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port that clients dial, 1 to 65535, host order.
    pub port: u16,
    /// The port that clients dial at nodes' addresses, host order; `None` for none.
    pub node_port: Option<u16>,
}

/// `spec.internalTrafficPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InternalTrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Node-local endpoints only; none here: refused, never sent away (SEMANTICS 4).
    Local,
}

/// `spec.trafficDistribution` (KEP-4444, KEP-3015).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrafficDistribution {
    /// No preference. Zone hints of the endpoints are followed all the same, as kube-proxy does.
    #[default]
    None,
    /// `PreferSameZone`, `PreferClose` by its old name.
    PreferSameZone,
    /// `PreferSameNode`.
    PreferSameNode,
}
