//! Pods and their namespaces, as far as they say who serves them.

use super::{Kind, ObjectRef};
use std::net::IpAddr;
use std::sync::Arc;

/// A Pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The node that it was scheduled to; empty for none yet.
    pub node: Arc<str>,
    /// What the kubelet names its cgroup after: its uid, or for a static pod the hash of its manifest.
    pub cgroup: Arc<str>,
    /// `status.podIPs`; empty before it has any.
    pub addresses: Vec<IpAddr>,
    /// Whether its connections are left alone, if it says so itself (SEMANTICS 32).
    pub left_alone: Option<bool>,
    /// Whether it has run to its end.
    pub ended: bool,
}

impl Pod {
    /// The Pod as an object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: Kind::Pod, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// A Namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Whether the connections of its pods are left alone, unless a pod says otherwise.
    pub left_alone: bool,
}
