//! Who may reach Services at their load balancers' addresses: this node's pods and the node itself, by their addresses
//! (SEMANTICS 15).

use super::ClusterState;
use crate::model::{Pod, ServiceKey};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Who may.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// Each Service with ranges: whom they let in.
    pub services: BTreeMap<ServiceKey, Vec<Source>>,
    /// What the cgroups of all these pods are named after.
    pub pods: Vec<Arc<str>>,
}

/// A client whose address of one family is in a Service's ranges.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Source {
    /// What its cgroup is named after; `None` for whoever is in the node's network.
    pub pod: Option<Arc<str>>,
    /// Whether that address is of IPv6.
    pub v6: bool,
}

impl ClusterState {
    /// Notes whether a Service has ranges.
    pub(super) fn note_ranges(&mut self, key: &ServiceKey) {
        let service = self.entries.get(key).and_then(|entry| entry.service.as_ref()).map(|known| &known.object);
        let ranges = service.filter(|service| service.load_balancer_ips.iter().any(|ip| service.is_fenced(*ip)));
        let is_fenced = ranges.is_some();
        let was = if is_fenced { !self.fenced.insert(key.clone()) } else { self.fenced.remove(key) };
        self.pods.sources_changed |= is_fenced || was;
    }

    /// Who may reach the Services that have ranges, if that may have changed since the last call; never before
    /// [`Self::is_synced`].
    pub fn take_sources(&mut self) -> Option<Sources> {
        if !self.is_synced() || !std::mem::take(&mut self.pods.sources_changed) {
            return None;
        }
        let clients = |in_range: &dyn Fn(IpAddr) -> bool| {
            let of_pods =
                self.pods_here().flat_map(|pod| source(Some(&pod.cgroup), own_addresses(pod, &self.own_addresses)));
            let all = of_pods.chain(source(None, &self.own_addresses));
            all.filter(|(_, ip)| in_range(*ip)).map(|(source, _)| source).collect::<Vec<_>>()
        };
        let known = self.fenced.iter().filter_map(|key| Some(&self.entries.get(key)?.service.as_ref()?.object));
        let services = known.map(|service| (service.key.clone(), clients(&|ip| service.is_in_range(ip)))).collect();
        let pods =
            if self.fenced.is_empty() { Vec::new() } else { self.pods_here().map(|pod| pod.cgroup.clone()).collect() };
        Some(Sources { services, pods })
    }
}

/// A pod in the node's network is asked for as the node is.
fn own_addresses<'a>(pod: &'a Pod, node: &[IpAddr]) -> &'a [IpAddr] {
    if pod.addresses.iter().any(|ip| node.contains(ip)) { &[] } else { &pod.addresses }
}

fn source<'a>(pod: Option<&'a Arc<str>>, addresses: &'a [IpAddr]) -> impl Iterator<Item = (Source, IpAddr)> + 'a {
    addresses.iter().map(move |ip| (Source { pod: pod.cloned(), v6: ip.is_ipv6() }, *ip))
}
