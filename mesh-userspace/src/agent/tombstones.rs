//! What is left of a Service that was deleted: for a while its UDP ports refuse.
//!
//! A sender that does not connect names the address with each datagram. Without the Service that is nobody's, and its
//! datagrams would vanish on their way out of the cluster, without an error (SEMANTICS 22). TCP needs no such thing: an open
//! connection knows its backend, and a new one is answered or not by the network.

use crate::model::ServiceKey;
use crate::plan::applied::Account;
use crate::plan::{DesiredPort, DesiredService, Endings};
use mesh_common::address::Protocol;
use mesh_common::tables::FrontendKey;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a sender is told. One that sends less often than that has its own timeout.
const STAND: Duration = Duration::from_mins(1);

/// Services that are gone and still refuse.
#[derive(Debug, Default)]
pub struct Tombstones {
    standing: HashMap<ServiceKey, (Instant, DesiredService)>,
    by_frontend: HashMap<FrontendKey, ServiceKey>,
}

impl Tombstones {
    /// What the maps should hold of a Service that is gone; `None` when it leaves nothing. `account` is what they hold now.
    pub fn put(&mut self, service: &ServiceKey, account: Option<&Account>, now: Instant) -> Option<DesiredService> {
        if let Some((_, stone)) = self.standing.get(service) {
            return Some(stone.clone());
        }
        let account = account?;
        let at_its_own = |key: &&FrontendKey| {
            key.protocol() == Protocol::Udp && !key.is_node_port() && account.addresses.contains(&key.address)
        };
        let mut ports = Vec::new();
        for port in &account.ports {
            let frontends: Vec<FrontendKey> = port.frontends.iter().filter(at_its_own).copied().collect();
            if frontends.is_empty() {
                continue;
            }
            let of_udp = account.backends.iter().filter(|(key, _)| key.protocol == Protocol::Udp);
            ports.push(DesiredPort {
                frontends,
                fenced: port.rule.fenced,
                algorithm: port.rule.algorithm,
                hash: port.rule.hash,
                outlier: false,
                affinity_timeout: port.affinity_timeout,
                slots: Vec::new(),
                kept: Vec::new(),
                endings: Endings { gone: of_udp.filter_map(|(_, backend)| backend.ends).min(), ..Endings::default() },
            });
        }
        if ports.is_empty() {
            return None;
        }
        let frontends = ports.iter().flat_map(|port: &DesiredPort| &port.frontends);
        self.by_frontend.extend(frontends.map(|key| (*key, service.clone())));
        let stone = DesiredService { ports, ..DesiredService::default() };
        self.standing.insert(service.clone(), (now, stone.clone()));
        Some(stone)
    }

    /// The Service is back: it speaks for itself.
    pub fn remove(&mut self, service: &ServiceKey) {
        if self.standing.remove(service).is_some() {
            self.by_frontend.retain(|_, own| own != service);
        }
    }

    /// Takes away what stands where a Service wants to be; returns whose it was.
    pub fn make_way(&mut self, desired: &DesiredService) -> Vec<ServiceKey> {
        if self.standing.is_empty() {
            return Vec::new();
        }
        let frontends = desired.ports.iter().flat_map(|port| &port.frontends);
        let mut gone: Vec<ServiceKey> = frontends.filter_map(|key| self.by_frontend.get(key).cloned()).collect();
        // A port that the new owner of an address does not list is refused as its, not as the former one's.
        let at = |address| self.by_frontend.iter().filter(move |(key, _)| key.address == address);
        gone.extend(desired.addresses.iter().flat_map(|&address| at(address)).map(|(_, own)| own.clone()));
        gone.sort_unstable();
        gone.dedup();
        for service in &gone {
            self.remove(service);
        }
        gone
    }

    /// Takes away what has stood for long enough; returns whose it was.
    pub fn expire(&mut self, now: Instant) -> Vec<ServiceKey> {
        let old = self.standing.iter().filter(|(_, (since, _))| now.duration_since(*since) >= STAND);
        let old: Vec<ServiceKey> = old.map(|(service, _)| service.clone()).collect();
        for service in &old {
            self.remove(service);
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::applied::AppliedPort;
    use mesh_common::address::{Address, Port};
    use mesh_common::select::Algorithm;
    use mesh_common::tables::{Rule, ServiceId, SlotRange};
    use std::net::Ipv4Addr;

    fn address(last: u8) -> Address {
        Ipv4Addr::new(10, 96, 0, last).into()
    }

    fn key(last: u8, protocol: Protocol) -> FrontendKey {
        FrontendKey::new(address(last), Port::from_host(53), protocol)
    }

    fn account(protocols: &[Protocol]) -> Account {
        let id = ServiceId(1);
        let mut account = Account::new(id, None);
        account.addresses = vec![address(1)];
        account.ports = protocols
            .iter()
            .map(|&protocol| AppliedPort {
                id,
                dialled: None,
                frontends: vec![key(1, protocol), key(9, protocol)],
                rule: Rule::plain(id, Algorithm::Random),
                affinity_timeout: 0,
                range: SlotRange::default(),
                slots: Vec::new(),
                endings: Endings::default(),
            })
            .collect();
        account
    }

    #[test]
    fn s22_udp_ports_at_its_own_addresses_stand_for_a_while_or_until_somebody_wants_the_place() {
        let (web, now) = (ServiceKey::new("shop", "web"), Instant::now());
        let mut stones = Tombstones::default();
        assert_eq!(stones.put(&web, Some(&account(&[Protocol::Tcp])), now), None);
        assert_eq!(stones.put(&web, None, now), None);
        let stone = stones.put(&web, Some(&account(&[Protocol::Tcp, Protocol::Udp])), now).unwrap();
        let frontends: Vec<_> = stone.ports.iter().flat_map(|port| &port.frontends).copied().collect();
        assert_eq!(frontends, [key(1, Protocol::Udp)]);
        assert!(stone.ports[0].slots.is_empty() && stone.addresses.is_empty());
        // Its slices go after it, and its addresses by then.
        assert_eq!(stones.put(&web, Some(&Account::new(ServiceId(1), None)), now + STAND / 2), Some(stone.clone()));
        assert!(stones.expire(now + STAND / 2).is_empty());
        assert_eq!(stones.expire(now + STAND), std::slice::from_ref(&web));
        assert!(stones.expire(now + STAND).is_empty());

        stones.put(&web, Some(&account(&[Protocol::Udp])), now).unwrap();
        let elsewhere = DesiredService { addresses: vec![address(2)], ..stone.clone() };
        let elsewhere = DesiredService { ports: Vec::new(), ..elsewhere };
        assert!(stones.make_way(&elsewhere).is_empty());
        let there = DesiredService { addresses: vec![address(1)], ..elsewhere };
        assert_eq!(stones.make_way(&there), std::slice::from_ref(&web));
        assert!(stones.make_way(&there).is_empty());

        stones.put(&web, Some(&account(&[Protocol::Udp])), now).unwrap();
        stones.remove(&web);
        assert!(stones.make_way(&there).is_empty() && stones.expire(now + STAND).is_empty());
    }
}
