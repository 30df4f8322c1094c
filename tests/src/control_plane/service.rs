//! A Service as the control plane knows it: what it selects, and where clients reach it.

use super::pods::Replica;
use super::workload::transport;
use crate::echo::Transport;
use crate::object::{Object, ObjectName};
use anyhow::Result;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A Service with everything that an API server would have filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct ServedService {
    /// The completed object.
    pub object: Object,
    /// Its `spec`.
    pub spec: ServiceSpec,
    /// Its addresses; none for one that is headless or an `ExternalName`.
    pub addresses: Vec<IpAddr>,
}

/// An address that clients dial; prints as `tcp 10.96.0.10:80`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Frontend {
    /// The Service.
    pub service: ObjectName,
    /// TCP or UDP.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport} {}", self.address)
    }
}

/// A Service as it was written, checked.
pub(super) fn parse(object: &Object) -> Result<ServedService> {
    let spec = object.typed::<Service>()?.spec.unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        if u16::try_from(port.port).ok().is_none_or(|number| number == 0) {
            let field = format!("spec.ports[{index}].port");
            return Err(object.wrong(&field, &format!("{} is no port; use 1 to 65535", port.port)));
        }
        if ports.len() > 1 && port.name.is_none() {
            return Err(object.wrong(&format!("spec.ports[{index}].name"), "a Service with several ports names each"));
        }
    }
    Ok(ServedService { object: object.clone(), spec, addresses: Vec::new() })
}

impl ServedService {
    /// Namespace and name, `shop/web`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.object.name.namespace, self.object.name.name)
    }

    /// Its ports.
    pub fn ports(&self) -> &[ServicePort] {
        self.spec.ports.as_deref().unwrap_or_default()
    }

    /// Whether it has addresses at all: it is neither headless nor an `ExternalName`.
    pub fn wants_addresses(&self) -> bool {
        self.spec.cluster_ip.as_deref() != Some("None") && self.spec.type_.as_deref() != Some("ExternalName")
    }

    /// Whether it selects a pod.
    pub fn selects(&self, replica: &Replica) -> bool {
        let selector = self.spec.selector.as_ref().filter(|selector| !selector.is_empty());
        replica.namespace == self.object.name.namespace
            && selector
                .is_some_and(|selector| selector.iter().all(|(key, value)| replica.labels.get(key) == Some(value)))
    }

    /// Where clients reach it.
    pub fn frontends(&self) -> Vec<Frontend> {
        let ports: Vec<_> = self.ports().iter().filter_map(dialled).collect();
        let of_address = |address: &IpAddr| {
            let address = *address;
            let service = self.object.name.clone();
            ports.iter().map(move |&(transport, port)| Frontend {
                service: service.clone(),
                transport,
                address: (address, port).into(),
            })
        };
        self.addresses.iter().flat_map(of_address).collect()
    }
}

fn dialled(port: &ServicePort) -> Option<(Transport, u16)> {
    Some((transport(port.protocol.as_deref())?, u16::try_from(port.port).ok()?))
}

/// The port of a pod that a Service's port means; `None` when the pod has no port of that name.
pub(super) fn target(port: &ServicePort, replica: &Replica) -> Option<u16> {
    let transport = transport(port.protocol.as_deref())?;
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => {
            let named = |p: &&super::workload::Port| p.name.as_deref() == Some(name) && p.listen.transport == transport;
            replica.ports.iter().find(named).map(|p| p.listen.port)
        }
    }
}
