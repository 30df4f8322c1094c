//! A Service.

use super::names::Names;
use super::report::Report;
use super::{Parsed, address, drain, external, metadata, pod};
use crate::model::{
    Drain, Finding, InternalTrafficPolicy, Kind, Service, ServiceKey, ServicePort, TrafficDistribution,
};
use k8s_openapi::api::core::v1 as core;
use std::net::IpAddr;
use std::time::Duration;

const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const OURS: &str = "mesh.dev/";
const DRAIN: &str = "mesh.dev/drain";

pub(super) fn parse(names: &mut Names, object: &core::Service) -> Result<Parsed<Service>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Service, &object.metadata)?;
    let key = ServiceKey { namespace: object_ref.namespace.clone(), name: object_ref.name.clone() };
    let mut report = Report::new(object_ref);
    let none = core::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or_else(|| {
        report.reject("spec", "it has no spec", "write its ports and clusterIP under spec");
        &none
    });

    let ignored = left_alone(&mut report, object, spec);
    let (cluster_ips, ports, external) = if ignored.is_some() {
        (Vec::new(), Vec::new(), external::Addresses::default())
    } else {
        unsupported(&mut report, spec);
        (
            cluster_ips(&mut report, spec),
            ports(names, &mut report, spec),
            external::addresses(&mut report, object, spec),
        )
    };
    let service = Service {
        key,
        cluster_ips,
        load_balancer_ips: external.load_balancer,
        source_ranges: external.source_ranges,
        external_ips: external.external,
        health_check_port: health_check_port(&mut report, spec),
        ports,
        internal_traffic_policy: internal_traffic_policy(&mut report, spec),
        traffic_distribution: traffic_distribution(&mut report, spec),
        session_affinity: session_affinity(&mut report, spec),
        ignored,
        created: metadata::created(&object.metadata),
        drain: annotations(&mut report, object),
    };
    report.finish(service)
}

/// SEMANTICS 18 and 32.
fn left_alone(report: &mut Report, object: &core::Service, spec: &core::ServiceSpec) -> Option<&'static str> {
    if pod::data_plane(report, &object.metadata) == Some(true) {
        Some("labelled mesh.dev/data-plane: none")
    } else if metadata::label(&object.metadata, PROXY_NAME).is_some() {
        Some("labelled service.kubernetes.io/service-proxy-name: another proxy serves it")
    } else if spec.type_.as_deref() == Some("ExternalName") {
        Some("type ExternalName: DNS answers for it")
    } else if first_ip(spec) == Some("None") {
        Some("clusterIP None: headless, clients dial its endpoints")
    } else {
        None
    }
}

fn first_ip(spec: &core::ServiceSpec) -> Option<&str> {
    let listed = spec.cluster_ips.as_ref().and_then(|ips| ips.first());
    spec.cluster_ip.as_ref().or(listed).map(String::as_str)
}

fn cluster_ips(report: &mut Report, spec: &core::ServiceSpec) -> Vec<IpAddr> {
    let single = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty());
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    if let (Some(single), Some(first)) = (single, listed.first())
        && single != first
    {
        report.reject(
            "spec.clusterIPs[0]",
            format!("{first} is not spec.clusterIP, {single}"),
            "write the same address in both",
        );
    }
    let texts: Vec<(String, &str)> = if listed.is_empty() {
        single.map(|ip| ("spec.clusterIP".to_owned(), ip)).into_iter().collect()
    } else {
        listed.iter().enumerate().map(|(i, ip)| (format!("spec.clusterIPs[{i}]"), ip.as_str())).collect()
    };
    if texts.is_empty() {
        report.unresolved(
            "spec.clusterIP",
            "it has no ClusterIP, so there is nothing to serve",
            "give it an address of the service range; mesh does not allocate one",
        );
    }
    let mut ips = Vec::<IpAddr>::with_capacity(texts.len());
    for (field, text) in texts {
        match address::service(text) {
            Ok(ip) if ips.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) => {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                report.reject(
                    field,
                    format!("{text} is a second {family} address"),
                    "keep at most one address of each family",
                );
            }
            Ok(ip) => ips.push(ip),
            Err(why) => report.reject(
                field,
                format!("{text:?} {}", why.0),
                "write an IPv4 or IPv6 address of the service range, or None",
            ),
        }
    }
    ips
}

fn ports(names: &mut Names, report: &mut Report, spec: &core::ServiceSpec) -> Vec<ServicePort> {
    let listed = spec.ports.as_deref().unwrap_or_default();
    if listed.is_empty() {
        report.reject("spec.ports", "it lists no port", "list at least one port");
    }
    let mut ports = Vec::<ServicePort>::with_capacity(listed.len());
    for (i, item) in listed.iter().enumerate() {
        let name = item.name.as_deref().unwrap_or_default();
        if name.is_empty() && listed.len() > 1 {
            report.reject(
                format!("spec.ports[{i}].name"),
                "a port without a name beside others",
                "name every port of a Service that has more than one",
            );
        } else if let Some(other) = listed[..i].iter().position(|other| other.name.as_deref() == Some(name)) {
            report.reject(
                format!("spec.ports[{i}].name"),
                format!("{name:?} is the name of spec.ports[{other}], too"),
                "give each port its own name",
            );
        }
        let Some(port) = address::port(item.port) else {
            report.reject(format!("spec.ports[{i}].port"), format!("{} is no port", item.port), address::PORT_ACTION);
            continue;
        };
        let protocol = match address::protocol(item.protocol.as_deref()) {
            Ok(Some(protocol)) => protocol,
            Ok(None) => {
                report.unsupported(
                    format!("spec.ports[{i}].protocol"),
                    "SCTP is not served yet",
                    "expect connections to this port to be left alone",
                );
                continue;
            }
            Err(()) => {
                report.reject(
                    format!("spec.ports[{i}].protocol"),
                    format!("{:?} is no protocol", item.protocol.as_deref().unwrap_or_default()),
                    address::PROTOCOL_ACTION,
                );
                continue;
            }
        };
        if ports.iter().any(|other| (other.port, other.protocol) == (port, protocol)) {
            report.reject(
                format!("spec.ports[{i}].port"),
                format!("{port}/{protocol} is listed twice"),
                "list each port and protocol once",
            );
        }
        ports.push(ServicePort { name: names.share(name), protocol, port, node_port: node_port(report, spec, i) });
    }
    ports
}

/// SEMANTICS 12 and 13. The API server gives one out unless it is told not to; here none is given out.
fn node_port(report: &mut Report, spec: &core::ServiceSpec, i: usize) -> Option<u16> {
    let number = spec.ports.as_ref()?.get(i)?.node_port.filter(|&number| number != 0)?;
    if !matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
        return None;
    }
    let port = address::port(number);
    if port.is_none() {
        report.reject(format!("spec.ports[{i}].nodePort"), format!("{number} is no port"), address::PORT_ACTION);
    }
    port
}

/// SEMANTICS 17. Other kinds of Services have none, whatever is written.
fn health_check_port(report: &mut Report, spec: &core::ServiceSpec) -> Option<u16> {
    let number = spec.health_check_node_port.filter(|&number| number != 0)?;
    if spec.type_.as_deref() != Some("LoadBalancer") || spec.external_traffic_policy.as_deref() != Some("Local") {
        return None;
    }
    let port = address::port(number);
    if port.is_none() {
        report.reject("spec.healthCheckNodePort", format!("{number} is no port"), address::PORT_ACTION);
    }
    port
}

fn internal_traffic_policy(report: &mut Report, spec: &core::ServiceSpec) -> InternalTrafficPolicy {
    match spec.internal_traffic_policy.as_deref() {
        None | Some("" | "Cluster") => InternalTrafficPolicy::Cluster,
        Some("Local") => InternalTrafficPolicy::Local,
        Some(other) => {
            report.reject(
                "spec.internalTrafficPolicy",
                format!("{other:?} is no internal traffic policy"),
                "write Cluster or Local",
            );
            InternalTrafficPolicy::Cluster
        }
    }
}

fn traffic_distribution(report: &mut Report, spec: &core::ServiceSpec) -> TrafficDistribution {
    match spec.traffic_distribution.as_deref() {
        None | Some("") => TrafficDistribution::None,
        Some("PreferSameZone" | "PreferClose") => TrafficDistribution::PreferSameZone,
        Some("PreferSameNode") => TrafficDistribution::PreferSameNode,
        Some(other) => {
            report.unsupported(
                "spec.trafficDistribution",
                format!("{other:?} is not a distribution that mesh knows"),
                "write PreferSameZone or PreferSameNode, or leave it out",
            );
            TrafficDistribution::None
        }
    }
}

/// SEMANTICS 7. The default and the bounds are Kubernetes' own.
fn session_affinity(report: &mut Report, spec: &core::ServiceSpec) -> Option<Duration> {
    const DEFAULT: i32 = 10_800;
    const MOST: i32 = 86_400;
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => {
            if config.is_some() {
                report.reject(
                    "spec.sessionAffinityConfig",
                    "there is no affinity that it could configure",
                    "write ClientIP as spec.sessionAffinity, or remove it",
                );
            }
            None
        }
        Some("ClientIP") => match config.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(DEFAULT) {
            seconds @ 1..=MOST => Some(Duration::from_secs(u64::from(seconds.unsigned_abs()))),
            other => {
                report.reject(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                    format!("{other} is no timeout"),
                    "write 1 to 86400 seconds, or leave it out for 10800",
                );
                None
            }
        },
        Some(other) => {
            report.reject("spec.sessionAffinity", format!("{other:?} is no affinity"), "write None or ClientIP");
            None
        }
    }
}

fn annotations(report: &mut Report, object: &core::Service) -> Drain {
    let mut drain = Drain::default();
    for (name, value) in object.metadata.annotations.iter().flatten().filter(|(name, _)| name.starts_with(OURS)) {
        let field = format!("metadata.annotations[{name}]");
        match name.as_str() {
            DRAIN => drain = drain::annotation(report, field, value),
            _ => report.unsupported(field, "mesh knows no such annotation", format!("write {DRAIN}, or remove it")),
        }
    }
    drain
}

/// What Kubernetes has and mesh does not serve: reported, never ignored in silence (SEMANTICS 33).
fn unsupported(report: &mut Report, spec: &core::ServiceSpec) {
    match spec.type_.as_deref() {
        None | Some("" | "ClusterIP") => {}
        Some("NodePort") => report.unsupported(
            "spec.type",
            "its node ports are served to clients in the cluster; clients outside are not served yet",
            "keep another proxy for clients outside the cluster",
        ),
        Some("LoadBalancer") => report.unsupported(
            "spec.type",
            "its addresses and node ports are served to clients in the cluster; clients outside are not served yet",
            "keep another proxy for clients outside the cluster",
        ),
        Some(other) => report.reject(
            "spec.type",
            format!("{other:?} is no type of Service"),
            "write ClusterIP, NodePort, LoadBalancer or ExternalName",
        ),
    }
}
