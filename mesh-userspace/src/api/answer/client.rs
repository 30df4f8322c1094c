//! Who asks: an address or a pod's name, looked up among the endpoints.

use super::Facts;
use crate::api::types::Client;
use crate::maps::Maps;
use crate::model::Endpoint;
use std::net::IpAddr;

impl<M: Maps> Facts<'_, M> {
    /// The client of this name or address, with what the endpoint slices know of it.
    pub(super) fn client(&self, asked: &str) -> Client {
        let address = asked.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let (namespace, pod) = asked.split_once('/').map_or((None, asked), |(namespace, pod)| (Some(namespace), pod));
        let found = self.endpoint(|in_namespace, endpoint| match address {
            Some(address) => endpoint.address == address,
            None => *endpoint.pod == *pod && namespace.is_none_or(|namespace| namespace == in_namespace),
        });
        let text =
            |pick: fn(&Endpoint) -> &str| found.map(|(_, endpoint)| pick(endpoint).to_owned()).unwrap_or_default();
        Client {
            asked: asked.to_owned(),
            address: address.or(found.map(|(_, endpoint)| endpoint.address)),
            pod: found
                .filter(|(_, endpoint)| !endpoint.pod.is_empty())
                .map(|(namespace, endpoint)| format!("{namespace}/{}", endpoint.pod))
                .unwrap_or_default(),
            node: text(|endpoint| &endpoint.node),
            zone: text(|endpoint| &endpoint.zone),
        }
    }

    /// The first endpoint, by Service and slice, that is wanted; with its namespace.
    pub(super) fn endpoint(&self, is_wanted: impl Fn(&str, &Endpoint) -> bool) -> Option<(&str, &Endpoint)> {
        self.state.services().into_iter().find_map(|service| {
            let namespace = &*service.key.namespace;
            let slices = self.state.slices_of(&service.key);
            let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
            endpoints.find(|endpoint| is_wanted(namespace, endpoint)).map(|endpoint| (namespace, endpoint))
        })
    }
}
