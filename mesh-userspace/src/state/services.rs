//! Services coming and going, and the addresses that they take from each other.
//!
//! What is written becomes what is in force as soon as that takes no address from another Service. Until then the
//! Service's former form goes on, on its former addresses, unless another Service wants one of those: of two Services
//! that exchange their addresses, one after the other, neither waits for ever.

use super::ClusterState;
use super::entry::{Age, KnownService};
use crate::model::{Origin, Service, ServiceKey};
use std::net::IpAddr;

impl ClusterState {
    pub(super) fn put_service(&mut self, service: Service, origin: Option<Origin>) {
        let key = service.key.clone();
        let entry = self.entries.entry(key.clone()).or_default();
        match &mut entry.service {
            None => {
                entry.service = Some(KnownService { object: service, origin, waiting: None, claims: Vec::new() });
                self.dirty.insert(key.clone());
                self.claim(&key);
                self.attach_wildcards(&key);
                self.note_externals(&key);
                self.note_node_ports(&key);
                self.note_ranges(&key);
                self.note_health_check(&key);
            }
            Some(known) if *known.latest().0 == service => match &mut known.waiting {
                Some(waiting) => waiting.1 = origin,
                None => known.origin = origin,
            },
            Some(known) => {
                known.waiting = Some(Box::new((service, origin)));
                self.claim(&key);
                self.promote(&key);
            }
        }
    }

    pub(super) fn take_service(&mut self, key: &ServiceKey) {
        let Some(known) = self.entries.get_mut(key).and_then(|entry| entry.service.take()) else { return };
        self.dirty.insert(key.clone());
        for (ip, _) in known.claims {
            let touched = self.addresses.release(ip, key);
            self.owners_changed(touched);
            self.external_owners_changed([ip]);
        }
        self.detach_wildcards(key);
        self.note_externals(key);
        self.note_node_ports(key);
        self.note_ranges(key);
        self.note_health_check(key);
        self.drop_if_empty(key);
    }

    /// The addresses in force of a Service: those that no other has.
    pub(super) fn owned_addresses(&self, service: &Service) -> Vec<IpAddr> {
        let ips = service.cluster_ips.iter().copied();
        ips.filter(|&ip| self.addresses.owner(ip) == Some(&service.key)).collect()
    }

    /// Claims every address that the Service wants, in either form, and no other.
    fn claim(&mut self, key: &ServiceKey) {
        let Some(known) = self.entries.get(key).and_then(|entry| entry.service.as_ref()) else { return };
        let latest = known.latest().0;
        let former = known.object.cluster_ips.iter().filter(|ip| !latest.cluster_ips.contains(ip));
        let wanted = latest.cluster_ips.iter().map(|ip| (*ip, false)).chain(former.map(|ip| (*ip, true)));
        let wanted: Vec<(IpAddr, bool)> = wanted.collect();
        let (created, before) = (latest.created.clone(), known.claims.clone());
        let concerned: Vec<IpAddr> = wanted.iter().map(|(ip, _)| *ip).chain(before.iter().map(|(ip, _)| *ip)).collect();

        let mut claims = Vec::with_capacity(wanted.len());
        let mut touched = Vec::new();
        for (ip, _) in before.iter().filter(|(ip, _)| wanted.iter().all(|(other, _)| other != ip)) {
            touched.extend(self.addresses.release(*ip, key));
        }
        for (ip, held) in wanted {
            let since = before.iter().find(|(other, _)| *other == ip).map(|(_, since)| *since);
            let since = since.unwrap_or_else(|| self.next_seen());
            touched.extend(self.addresses.want(ip, Age::new(&created, since, held), key));
            claims.push((ip, since));
        }
        if let Some(known) = self.entries.get_mut(key).and_then(|entry| entry.service.as_mut()) {
            known.claims = claims;
        }
        self.external_owners_changed(concerned);
        self.owners_changed(touched);
    }

    /// Puts in force what was written last, if that takes no address from another Service, or if there is nothing to
    /// hold on to.
    fn promote(&mut self, key: &ServiceKey) {
        let Some(known) = self.entries.get(key).and_then(|entry| entry.service.as_ref()) else { return };
        let Some(waiting) = &known.waiting else { return };
        let owned = |ip: &IpAddr| self.addresses.owner(*ip) == Some(key);
        let taken = waiting.0.cluster_ips.iter().any(|ip| !owned(ip) && !known.object.cluster_ips.contains(ip));
        if taken && known.object.cluster_ips.iter().any(owned) {
            return;
        }
        if let Some(known) = self.entries.get_mut(key).and_then(|entry| entry.service.as_mut())
            && let Some(waiting) = known.waiting.take()
        {
            (known.object, known.origin) = *waiting;
            self.dirty.insert(key.clone());
            self.claim(key);
            self.note_externals(key);
            self.note_node_ports(key);
            self.note_ranges(key);
            self.note_health_check(key);
        }
    }

    fn owners_changed(&mut self, touched: Vec<ServiceKey>) {
        for key in touched {
            self.promote(&key);
            self.dirty.insert(key);
        }
    }
}
