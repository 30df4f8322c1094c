//! An `EndpointSlice`.

use super::names::Names;
use super::report::Report;
use super::{Parsed, address, metadata};
use crate::model::{Endpoint, EndpointPort, EndpointSlice, Finding, Hints, Kind, ServiceKey};
use k8s_openapi::api::discovery::v1 as discovery;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn parse(
    names: &mut Names,
    object: &discovery::EndpointSlice,
) -> Result<Parsed<Option<EndpointSlice>>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::EndpointSlice, &object.metadata)?;
    let (namespace, name) = (object_ref.namespace.clone(), object_ref.name.clone());
    let mut report = Report::new(object_ref);
    let v6 = match object.address_type.as_str() {
        "IPv4" => false,
        "IPv6" => true,
        "FQDN" => return report.finish(None),
        other => {
            report.reject("addressType", format!("{other:?} is no type of address"), "write IPv4 or IPv6");
            return report.finish(None);
        }
    };
    let service = metadata::label(&object.metadata, SERVICE_NAME).unwrap_or_default();
    if service.is_empty() {
        report.reject(
            "metadata.labels",
            format!("without the label {SERVICE_NAME} it belongs to no Service"),
            "label it with the name of its Service",
        );
    }
    let service = ServiceKey { namespace, name: names.share(service) };
    let ports = ports(names, &mut report, object);
    let endpoints = object.endpoints.as_deref().unwrap_or_default();
    let endpoints =
        endpoints.iter().enumerate().filter_map(|(i, item)| endpoint(names, &mut report, v6, i, item)).collect();
    report.finish(Some(EndpointSlice { name, service, v6, ports, endpoints }))
}

fn ports(names: &mut Names, report: &mut Report, object: &discovery::EndpointSlice) -> Vec<EndpointPort> {
    let listed = object.ports.as_deref().unwrap_or_default();
    let mut ports = Vec::<EndpointPort>::with_capacity(listed.len());
    for (i, item) in listed.iter().enumerate() {
        let name = item.name.as_deref().unwrap_or_default();
        if let Some(other) = listed[..i].iter().position(|other| other.name.as_deref().unwrap_or_default() == name) {
            report.reject(
                format!("ports[{i}].name"),
                format!("{name:?} is the name of ports[{other}], too"),
                "give each port its own name",
            );
        }
        let Some(number) = item.port else {
            report.unsupported(
                format!("ports[{i}].port"),
                "a port without a number is not served",
                "write the port's number",
            );
            continue;
        };
        let Some(port) = address::port(number) else {
            report.reject(format!("ports[{i}].port"), format!("{number} is no port"), address::PORT_ACTION);
            continue;
        };
        match address::protocol(item.protocol.as_deref()) {
            Ok(Some(protocol)) => ports.push(EndpointPort { name: names.share(name), protocol, port }),
            // The Service's own port says that SCTP is not served.
            Ok(None) => {}
            Err(()) => report.reject(
                format!("ports[{i}].protocol"),
                format!("{:?} is no protocol", item.protocol.as_deref().unwrap_or_default()),
                address::PROTOCOL_ACTION,
            ),
        }
    }
    ports
}

fn endpoint(
    names: &mut Names,
    report: &mut Report,
    v6: bool,
    i: usize,
    item: &discovery::Endpoint,
) -> Option<Endpoint> {
    let Some(first) = item.addresses.first() else {
        report.reject(format!("endpoints[{i}].addresses"), "it has no address", "write the endpoint's address");
        return None;
    };
    let field = || format!("endpoints[{i}].addresses[0]");
    let address = match address::endpoint(first) {
        Ok(address) if address.is_ipv6() == v6 => address,
        Ok(_) => {
            report.reject(
                field(),
                format!("{first} is not of the slice's addressType"),
                "keep one slice for each family",
            );
            return None;
        }
        Err(why) => {
            report.reject(field(), format!("{first:?} {}", why.0), "write the endpoint's IP address");
            return None;
        }
    };
    if item.addresses.len() > 1 {
        report.unsupported(
            format!("endpoints[{i}].addresses"),
            "an endpoint is reached by its first address only",
            "write one endpoint for each address",
        );
    }
    let conditions = item.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let pod = item.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(Endpoint {
        address,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node: names.share_option(item.node_name.as_deref()),
        zone: names.share_option(item.zone.as_deref()),
        // A pod's name is its own: sharing would only cost.
        pod: pod.and_then(|target| target.name.as_deref()).map(Into::into).unwrap_or_default(),
        hints: hints(names, item),
    })
}

fn hints(names: &mut Names, item: &discovery::Endpoint) -> Option<Box<Hints>> {
    let hints = item.hints.as_ref()?;
    let zones: Vec<_> = hints.for_zones.iter().flatten().map(|zone| names.share(&zone.name)).collect();
    let nodes: Vec<_> = hints.for_nodes.iter().flatten().map(|node| names.share(&node.name)).collect();
    (!zones.is_empty() || !nodes.is_empty()).then(|| Box::new(Hints { zones, nodes }))
}
