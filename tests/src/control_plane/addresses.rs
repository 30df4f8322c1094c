//! Gives Services their `ClusterIPs`, as an API server does.

use super::service::ServedService;
use crate::object::ObjectName;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which Service has which address; free ones come from 10.96.0.0/16 and `fd00:10:96::/112`.
#[derive(Debug, Default)]
pub struct ServiceAddresses {
    taken: BTreeMap<IpAddr, ObjectName>,
}

impl ServiceAddresses {
    /// Notes the addresses that a Service asks for.
    pub fn reserve(&mut self, service: &ServedService) -> Result<()> {
        let name = &service.object.name;
        for (field, address) in asked(service)? {
            if let Some(other) = self.taken.get(&address).filter(|&other| other != name) {
                return Err(service.object.wrong(&field, &format!("{address} belongs to {other} already")));
            }
            self.taken.insert(address, name.clone());
        }
        Ok(())
    }

    /// Fills in `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`.
    pub fn complete(&mut self, mut service: ServedService) -> Result<ServedService> {
        if !service.wants_addresses() {
            return Ok(service);
        }
        let mut addresses: Vec<_> = asked(&service)?.into_iter().map(|(_, address)| address).collect();
        let mut families = service.spec.ip_families.clone().unwrap_or_default();
        for address in &addresses[families.len().min(addresses.len())..] {
            families.push(family(address).to_owned());
        }
        if families.is_empty() {
            families.push("IPv4".to_owned());
        }
        let policy = service.spec.ip_family_policy.as_deref();
        let dual =
            matches!(policy, Some("PreferDualStack" | "RequireDualStack")) || (policy.is_none() && families.len() > 1);
        if dual && families.len() == 1 {
            families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
        }
        if let Some(unknown) = families.iter().find(|family| !["IPv4", "IPv6"].contains(&family.as_str())) {
            return Err(service.object.wrong("spec.ipFamilies", &format!("{unknown:?} is neither IPv4 nor IPv6")));
        }
        for wanted in &families[addresses.len().min(families.len())..] {
            let free = self.free(wanted, &service.object.name);
            addresses.push(free);
        }
        let policy = policy.unwrap_or(if dual { "RequireDualStack" } else { "SingleStack" }).to_owned();
        let spec = &mut service.object.value["spec"];
        spec["clusterIP"] = json!(addresses[0]);
        spec["clusterIPs"] = json!(addresses);
        spec["ipFamilies"] = json!(families);
        spec["ipFamilyPolicy"] = json!(policy);
        service.addresses = addresses;
        Ok(service)
    }

    fn free(&mut self, family: &str, name: &ObjectName) -> IpAddr {
        // A Service that is applied again keeps what it was given.
        let own = self.taken.iter().find(|(address, owner)| *owner == name && self::family(address) == family);
        if let Some((&address, _)) = own {
            return address;
        }
        let nth = |n: u16| -> IpAddr {
            let [high, low] = n.to_be_bytes();
            match family {
                "IPv6" => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, n).into(),
                _ => Ipv4Addr::new(10, 96, high, low).into(),
            }
        };
        let free = (10..u16::MAX).map(nth).find(|address| !self.taken.contains_key(address));
        let address = free.expect("fewer than 65,000 Services");
        self.taken.insert(address, name.clone());
        address
    }
}

/// The addresses that are written in a Service, with the field of each.
fn asked(service: &ServedService) -> Result<Vec<(String, IpAddr)>> {
    if !service.wants_addresses() {
        return Ok(Vec::new());
    }
    let single = service.spec.cluster_ip.iter().map(|text| ("spec.clusterIP".to_owned(), text));
    let list = service.spec.cluster_ips.iter().flatten();
    let list = list.enumerate().map(|(index, text)| (format!("spec.clusterIPs[{index}]"), text));
    let mut addresses: Vec<(String, IpAddr)> = Vec::new();
    for (field, text) in single.chain(list).filter(|(_, text)| !text.is_empty()) {
        let address = text.parse().map_err(|_| service.object.wrong(&field, &format!("{text:?} is no address")))?;
        if !addresses.iter().any(|(_, known)| *known == address) {
            addresses.push((field, address));
        }
    }
    Ok(addresses)
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::service::parse;
    use crate::object::Object;

    /// The `clusterIPs` that Services get whose `spec`s are these.
    fn given(specs: &[&str]) -> Result<Vec<String>> {
        let services = specs.iter().enumerate().map(|(number, spec)| {
            let text = format!("kind: Service\nmetadata: {{name: s{number}}}\nspec: {{{spec}}}");
            parse(&Object::parse_all(&text, "t")?.remove(0))
        });
        let services = services.collect::<Result<Vec<_>>>()?;
        let mut addresses = ServiceAddresses::default();
        services.iter().try_for_each(|service| addresses.reserve(service))?;
        let complete = |service| Ok(addresses.complete(service)?.object.value["spec"]["clusterIPs"].to_string());
        services.into_iter().map(complete).collect()
    }

    #[test]
    fn services_get_what_they_ask_for_and_the_rest_what_is_free() {
        let table = [
            ("", r#"["10.96.0.11"]"#),
            ("clusterIP: 10.96.0.10", r#"["10.96.0.10"]"#),
            ("ipFamilyPolicy: PreferDualStack", r#"["10.96.0.12","fd00:10:96::a"]"#),
            ("ipFamilies: [IPv6]", r#"["fd00:10:96::b"]"#),
            ("ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack", r#"["fd00:10:96::c","10.96.0.13"]"#),
            ("clusterIP: 'fd00::1', ipFamilyPolicy: PreferDualStack", r#"["fd00::1","10.96.0.14"]"#),
            ("clusterIPs: [10.0.0.1, 'fd00::2']", r#"["10.0.0.1","fd00::2"]"#),
            ("clusterIP: None", "null"),
            ("type: ExternalName, externalName: example.com", "null"),
        ];
        let specs: Vec<_> = table.iter().map(|(spec, _)| *spec).collect();
        let expected: Vec<_> = table.iter().map(|(_, expected)| *expected).collect();
        assert_eq!(given(&specs).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_given_is_named() {
        let error = |specs: &[&str]| given(specs).unwrap_err().to_string();
        assert_eq!(
            error(&["clusterIP: 10.96.0.10", "clusterIP: 10.96.0.10"]),
            "t: document 1: Service default/s1: `spec.clusterIP`: 10.96.0.10 belongs to Service default/s0 already"
        );
        assert!(error(&["clusterIPs: [here]"]).contains("`spec.clusterIPs[0]`: \"here\" is no address"));
        assert!(error(&["ipFamilies: [IPv5]"]).contains("`spec.ipFamilies`: \"IPv5\" is neither"));
    }
}
