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
    /// Notes that a Service wants an address; gives the Services whose ownership may have changed.
    pub(super) fn want(&mut self, ip: IpAddr, age: Age, key: &ServiceKey) -> Vec<ServiceKey> {
        let claims = self.wanted.entry(ip).or_default();
        let owner = claims.first().map(|(_, owner)| owner.clone());
        claims.retain(|(_, other)| other != key);
        let position = claims.partition_point(|(other, _)| *other < age);
        claims.reserve_exact(1);
        claims.insert(position, (age, key.clone()));
        if claims.len() > 1 {
            self.contested.insert(ip);
        }
        owner.filter(|_| position == 0).into_iter().collect()
    }

    /// Notes that a Service does not want an address any more; gives the Services whose ownership may have changed.
    pub(super) fn release(&mut self, ip: IpAddr, key: &ServiceKey) -> Vec<ServiceKey> {
        let Some(claims) = self.wanted.get_mut(&ip) else { return Vec::new() };
        let owned = claims.first().is_some_and(|(_, owner)| owner == key);
        claims.retain(|(_, other)| other != key);
        let next = claims.first().filter(|_| owned).map(|(_, next)| next.clone());
        if claims.len() < 2 {
            self.contested.remove(&ip);
        }
        if claims.is_empty() {
            self.wanted.remove(&ip);
        }
        next.into_iter().collect()
    }

    /// The Service that an address leads to.
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
