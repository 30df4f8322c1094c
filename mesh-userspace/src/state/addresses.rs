//! Which Service has an address.

use super::entry::Age;
use crate::model::ServiceKey;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Who wants each address, the owner first.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    wanted: HashMap<IpAddr, Vec<(Age, ServiceKey)>>,
    /// Addresses that several Services want.
    contested: BTreeSet<IpAddr>,
}

impl Addresses {
    /// Notes that a Service wants an address; gives the former and the new owner if that changes it.
    pub(super) fn want(&mut self, ip: IpAddr, age: Age, key: &ServiceKey) -> Vec<ServiceKey> {
        self.change(ip, |claims| {
            claims.retain(|(_, other)| other != key);
            let position = claims.partition_point(|(other, _)| *other < age);
            claims.reserve_exact(1);
            claims.insert(position, (age, key.clone()));
        })
    }

    /// Notes that a Service does not want an address any more; gives the former and the new owner if that changes it.
    pub(super) fn release(&mut self, ip: IpAddr, key: &ServiceKey) -> Vec<ServiceKey> {
        self.change(ip, |claims| claims.retain(|(_, other)| other != key))
    }

    fn change(&mut self, ip: IpAddr, change: impl FnOnce(&mut Vec<(Age, ServiceKey)>)) -> Vec<ServiceKey> {
        let claims = self.wanted.entry(ip).or_default();
        let owner = |claims: &[(Age, ServiceKey)]| claims.first().map(|(_, key)| key.clone());
        let before = owner(claims);
        change(claims);
        let after = owner(claims);
        match claims.len() {
            0 => drop(self.wanted.remove(&ip)),
            1 => drop(self.contested.remove(&ip)),
            _ => drop(self.contested.insert(ip)),
        }
        if before == after { Vec::new() } else { before.into_iter().chain(after).collect() }
    }

    /// The first of the Services that want an address.
    pub(super) fn owner(&self, ip: IpAddr) -> Option<&ServiceKey> {
        self.wanted.get(&ip)?.first().map(|(_, key)| key)
    }

    /// Each address that several Services want: its owner, then the others.
    pub(super) fn contested(&self) -> impl Iterator<Item = (IpAddr, &ServiceKey, impl Iterator<Item = &ServiceKey>)> {
        self.contested.iter().filter_map(|ip| {
            let mut keys = self.wanted.get(ip)?.iter().map(|(_, key)| key);
            Some((*ip, keys.next()?, keys))
        })
    }
}
