//! The state itself: what is known, and which Services have to be compiled anew.

use super::addresses::Addresses;
use super::entry::Entry;
use super::externals::Externals;
use super::nodes::Nodes;
use super::pods::Pods;
use super::policies::KnownPolicy;
use crate::model::{EndpointSlice, Finding, Kind, Locality, Node, Object, ObjectRef, Place, Service, ServiceKey};
use crate::plan::compile::{self, ServiceView};
use crate::plan::inbound::{self, InboundLimits};
use crate::plan::locality::Localities;
use crate::plan::{BackendKey, DesiredService};
use crate::source::{Change, Counts, Subject, Trouble};
use mesh_common::tables::FrontendKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that the sources have said, joined.
#[derive(Debug)]
pub struct ClusterState {
    pub(super) node_name: Arc<str>,
    /// Where the nodes are that are known, its own among them.
    pub(super) localities: Localities,
    /// Backends that are ejected now, of Services whose policy has an order; none is empty.
    pub(super) ejected: BTreeMap<ServiceKey, BTreeSet<BackendKey>>,
    /// Whether the node of this agent is about to go.
    deleting: bool,
    pub(super) entries: HashMap<ServiceKey, Entry>,
    /// The Service of each slice, by the slice's own namespace and name.
    pub(super) slices: HashMap<ServiceKey, ServiceKey>,
    /// Policies of both kinds.
    pub(super) policies: BTreeMap<ObjectRef, KnownPolicy>,
    /// Those of them that name Services by a pattern.
    pub(super) wildcards: BTreeSet<ObjectRef>,
    pub(super) addresses: Addresses,
    pub(super) externals: Externals,
    pub(super) nodes: Nodes,
    pub(super) pods: Pods,
    /// Services whose load balancer's addresses not everybody may reach.
    pub(super) fenced: BTreeSet<ServiceKey>,
    /// Services whose load balancers ask this node for its endpoints.
    pub(super) health_checked: BTreeSet<ServiceKey>,
    pub(super) health_checks_changed: bool,
    /// The addresses of the agent's own node.
    pub(super) own_addresses: Vec<IpAddr>,
    /// What the sources found wrong, by what it is about.
    pub(super) reported: BTreeMap<Subject, Vec<Finding>>,
    pub(super) counts: Counts,
    pub(super) troubles: Vec<Trouble>,
    pub(super) dirty: BTreeSet<ServiceKey>,
    seen: u64,
    /// Sources that have not yet sent everything that they held at the start.
    awaited: usize,
}

impl ClusterState {
    /// A state that knows nothing, on the node of this name, fed by `sources` sources.
    pub fn new(node_name: impl Into<Arc<str>>, sources: usize) -> Self {
        Self {
            node_name: node_name.into(),
            localities: Localities::new(),
            ejected: BTreeMap::new(),
            deleting: false,
            entries: HashMap::new(),
            slices: HashMap::new(),
            policies: BTreeMap::new(),
            wildcards: BTreeSet::new(),
            addresses: Addresses::default(),
            externals: Externals::default(),
            nodes: Nodes::default(),
            pods: Pods::default(),
            fenced: BTreeSet::new(),
            health_checked: BTreeSet::new(),
            health_checks_changed: false,
            own_addresses: Vec::new(),
            reported: BTreeMap::new(),
            counts: Counts::default(),
            troubles: Vec::new(),
            dirty: BTreeSet::new(),
            seen: 0,
            awaited: sources,
        }
    }

    /// Takes in one change. What it repeats makes nothing dirty.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Upsert { object: Object::Service(service), origin } => self.put_service(service, origin),
            Change::Upsert { object: Object::EndpointSlice(slice), .. } => self.put_slice(slice),
            Change::Upsert { object: Object::Node(node), .. } => self.put_node(&node),
            Change::Upsert { object: Object::Namespace(namespace), .. } => self.put_namespace(namespace),
            Change::Upsert { object: Object::Pod(pod), .. } => self.put_pod(pod),
            Change::Upsert { object: Object::Policy(policy), origin } => self.put_policy(*policy, origin),
            Change::Remove(object) => self.remove(&object),
            Change::Findings { subject, findings } if findings.is_empty() => drop(self.reported.remove(&subject)),
            Change::Findings { subject, findings } => drop(self.reported.insert(subject, findings)),
            Change::Troubles(troubles) => self.troubles = troubles,
            Change::Counted(counts) => self.counts = counts,
            Change::Synced => self.awaited = self.awaited.saturating_sub(1),
        }
    }

    /// Whether every source has sent all that it held at the start. Until then nothing may be compiled: what is not yet
    /// known would read as gone.
    pub fn is_synced(&self) -> bool {
        self.awaited == 0
    }

    /// The Services to compile anew, in the order of their names; none before [`Self::is_synced`].
    pub fn take_dirty(&mut self) -> Vec<ServiceKey> {
        if !self.is_synced() {
            return Vec::new();
        }
        self.health_checks_changed |= self.dirty.iter().any(|key| self.health_checked.contains(key));
        mem::take(&mut self.dirty).into_iter().collect()
    }

    /// What the maps should hold of a Service, or of [`ServiceKey::nodes`]; `None` for nothing.
    pub fn compile(&self, key: &ServiceKey) -> Option<DesiredService> {
        if key.is_nodes() {
            return self.compile_nodes();
        }
        let entry = self.entries.get(key)?;
        let service = &entry.service.as_ref()?.object;
        let addresses = self.owned_addresses(service);
        let externals = self.external_frontends(service);
        compile::compile(self.view(entry, service, &addresses, &externals), self.here())
    }

    /// The limits on what arrives at this node's backends of a Service.
    pub fn inbound_limits(&self, key: &ServiceKey) -> InboundLimits {
        let entry = self.entries.get(key);
        let service = entry.and_then(|entry| Some((entry, &entry.service.as_ref()?.object)));
        service
            .map(|(entry, service)| inbound::limits(self.view(entry, service, &[], &[]), self.here()))
            .unwrap_or_default()
    }

    /// The TCP backends of a Service that are on this node.
    pub fn own_backends(&self, key: &ServiceKey) -> BTreeSet<BackendKey> {
        let Some(entry) = self.entries.get(key) else { return BTreeSet::new() };
        let Some(known) = entry.service.as_ref() else { return BTreeSet::new() };
        inbound::backends(self.view(entry, &known.object, &[], &[]), self.here()).collect()
    }

    /// Where this agent runs.
    pub fn here(&self) -> Place<'_> {
        let place = Place::on(&self.node_name);
        match self.localities.get(&self.node_name) {
            Some(Locality { region, zone, subzone }) => Place { region, zone, subzone, ..place },
            None => place,
        }
    }

    /// Whether the node of this agent is about to go.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Why the sources do not follow at present; what they said before goes on.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// What was read.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn view<'a>(
        &'a self,
        entry: &'a Entry,
        service: &'a Service,
        addresses: &'a [IpAddr],
        externals: &'a [FrontendKey],
    ) -> ServiceView<'a> {
        let policy = entry.policy().and_then(|key| self.policies.get(key));
        ServiceView {
            service,
            addresses,
            externals,
            slices: &entry.slices,
            policy: policy.map(|known| &known.object),
            localities: &self.localities,
            ejected: self.ejected.get(&service.key),
        }
    }

    pub(super) fn next_seen(&mut self) -> u64 {
        self.seen += 1;
        self.seen
    }

    fn put_slice(&mut self, slice: EndpointSlice) {
        let own = ServiceKey { namespace: slice.service.namespace.clone(), name: slice.name.clone() };
        let service = slice.service.clone();
        match self.slices.insert(own.clone(), service.clone()) {
            Some(before) if before != service => self.take_slice(&before, &own.name),
            _ => {}
        }
        if self.entries.entry(service.clone()).or_default().put_slice(slice) {
            self.dirty.insert(service);
        }
    }

    fn take_slice(&mut self, service: &ServiceKey, name: &str) {
        if let Some(entry) = self.entries.get_mut(service)
            && entry.take_slice(name)
        {
            self.dirty.insert(service.clone());
            self.drop_if_empty(service);
        }
    }

    fn put_node(&mut self, node: &Node) {
        self.note_node(&node.name, &node.addresses);
        self.note_locality(&node.name, &node.locality);
        if node.name == self.node_name {
            self.pods.sources_changed |= self.own_addresses != node.addresses;
            self.own_addresses.clone_from(&node.addresses);
            self.deleting = node.deleting;
        }
    }

    fn remove(&mut self, object: &ObjectRef) {
        let own = ServiceKey { namespace: object.namespace.clone(), name: object.name.clone() };
        match object.kind {
            Kind::Service => self.take_service(&own),
            Kind::EndpointSlice => {
                if let Some(service) = self.slices.remove(&own) {
                    self.take_slice(&service, &own.name);
                }
            }
            Kind::Node => {
                self.note_node(&own.name, &[]);
                self.note_locality(&own.name, &Locality::default());
                if *own.name == *self.node_name {
                    self.deleting = false;
                }
            }
            Kind::Namespace => self.take_namespace(&own.name),
            Kind::Pod => self.take_pod(object),
            Kind::TrafficPolicy | Kind::DestinationRule => self.take_policy(object),
        }
    }

    pub(super) fn drop_if_empty(&mut self, key: &ServiceKey) {
        if self.entries.get(key).is_some_and(Entry::is_empty) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
