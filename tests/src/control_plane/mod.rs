//! The control plane of a world: Deployments become pods, Services get addresses, `EndpointSlices` follow the pods.
//!
//! It does what an API server, the controllers and a kubelet would, so that ordinary manifests of any application work
//! as they are. What it makes it puts before the agent as files, as the API server would put it before a watch.

mod addresses;
mod pods;
mod service;
mod slices;
mod unknown;
mod workload;

pub use pods::{PodState, Replica};
pub use service::{Frontend, ServedService};
pub use workload::Workload;

use crate::object::{Object, ObjectName};
use crate::world::{Addresses, NODE_NAME, World};
use addresses::ServiceAddresses;
use anyhow::{Context, Result};
use pods::Pods;
use serde_json::json;
use std::collections::BTreeMap;

/// Where the world's only node is.
pub const ZONE: &str = "zone-1";

/// The control plane of one world.
#[derive(Debug)]
pub struct ControlPlane<'w> {
    world: &'w World,
    workloads: BTreeMap<ObjectName, Workload>,
    services: BTreeMap<ObjectName, ServedService>,
    addresses: ServiceAddresses,
    pods: Pods<'w>,
    published: BTreeMap<ObjectName, Object>,
    notes: Vec<String>,
}

impl<'w> ControlPlane<'w> {
    /// A control plane with one node and nothing on it.
    pub fn new(world: &'w World) -> Result<Self> {
        let mut plane = Self {
            world,
            workloads: BTreeMap::new(),
            services: BTreeMap::new(),
            addresses: ServiceAddresses::default(),
            pods: Pods::new(world),
            published: BTreeMap::new(),
            notes: Vec::new(),
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE_NAME, "labels": {"topology.kubernetes.io/zone": ZONE}},
            "status": {"addresses": [
                {"type": "InternalIP", "address": Addresses::NODE.v4},
                {"type": "InternalIP", "address": Addresses::NODE.v6},
            ]},
        });
        plane.publish(Object::new(node, "the control plane")?)?;
        Ok(plane)
    }

    /// Takes objects in, and does all that follows from them before it returns. Nothing is done when one is wrong.
    pub fn apply(&mut self, objects: &[Object]) -> Result<()> {
        let (mut workloads, mut services, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects {
            let unknown = unknown::fields(object)?;
            self.notes
                .extend(unknown.iter().map(|field| object.wrong(field, "is not known; nobody reads it").to_string()));
            if let Some(workload) = Workload::parse(object)? {
                workloads.push(workload);
            } else if object.name.kind == "Service" {
                services.push(service::parse(object)?);
            } else {
                others.push(object.clone());
            }
        }
        // Addresses that are asked for come first, so that none of them is given to another Service before.
        for service in &services {
            self.addresses.reserve(service)?;
        }
        for service in services {
            let served = self.addresses.complete(service)?;
            self.publish(served.object.clone())?;
            self.services.insert(served.object.name.clone(), served);
        }
        self.workloads.extend(workloads.into_iter().map(|workload| (workload.name.clone(), workload)));
        for other in others {
            self.publish(other)?;
        }
        self.reconcile()
    }

    /// Takes the objects of a text in.
    pub fn apply_text(&mut self, text: &str) -> Result<()> {
        self.apply(&Object::parse_all(text, "the text applied")?)
    }

    /// Takes an object away that is neither a workload nor a Service.
    pub fn delete(&mut self, name: &ObjectName) -> Result<()> {
        self.published.remove(name);
        self.world.manifests().delete(name)
    }

    /// Changes how many pods a workload has; the youngest go first.
    pub fn scale(&mut self, workload: &ObjectName, replicas: usize) -> Result<()> {
        self.workloads.get_mut(workload).with_context(|| format!("there is no {workload}"))?.replicas = replicas;
        self.reconcile()
    }

    /// Changes what a pod's endpoints say of it.
    pub fn set_state(&mut self, pod: &str, state: PodState) -> Result<()> {
        self.pods.get_mut(pod)?.state = state;
        self.publish_slices()
    }

    /// A pod's program dies, and its endpoints go on to say what they said: no probe has noticed.
    pub fn crash(&mut self, pod: &str) -> Result<()> {
        self.pods.get_mut(pod)?.crash();
        Ok(())
    }

    /// A pod's program that died is started again.
    pub fn recover(&mut self, pod: &str) -> Result<()> {
        self.pods.get_mut(pod)?;
        self.pods.listen(&self.services)
    }

    /// Ends a pod: its endpoints go, then its processes. Nothing takes its place before [`ControlPlane::reconcile`].
    pub fn end(&mut self, pod: &str) -> Result<()> {
        let replica = self.pods.take(pod)?;
        self.publish_slices()?;
        replica.pod.delete()
    }

    /// Starts the pods that are missing and ends those that are too many, and lets the endpoints follow.
    pub fn reconcile(&mut self) -> Result<()> {
        for pod in self.pods.surplus(&self.workloads) {
            self.end(&pod)?;
        }
        self.pods.start_missing(&self.workloads)?;
        self.pods.listen(&self.services)?;
        self.publish_slices()
    }

    /// The Services, completed.
    pub fn services(&self) -> impl Iterator<Item = &ServedService> {
        self.services.values()
    }

    /// The workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// All pods, the oldest first.
    pub fn pods(&self) -> &[Replica] {
        self.pods.all()
    }

    /// The pods that a Service selects.
    pub fn pods_of<'a>(&'a self, service: &'a ServedService) -> impl Iterator<Item = &'a Replica> {
        self.pods.all().iter().filter(|replica| service.selects(replica))
    }

    /// The objects that the agent sees, other than Services, slices and the node.
    pub fn published(&self) -> impl Iterator<Item = &Object> {
        self.published.values()
    }

    /// What is odd about the objects and no reason to refuse them.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn publish(&mut self, object: Object) -> Result<()> {
        // What has not changed is not written: the agent should see what an API server's watch would show.
        if self.published.get(&object.name).is_none_or(|published| published.value != object.value) {
            self.world.manifests().put(&object)?;
            self.published.insert(object.name.clone(), object);
        }
        Ok(())
    }

    fn publish_slices(&mut self) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for service in self.services.values() {
            let selected: Vec<_> = self.pods_of(service).collect();
            wanted.extend(slices::of(service, &selected)?.into_iter().map(|slice| (slice.name.clone(), slice)));
        }
        let is_ours = |object: &Object| slices::is_ours(object);
        let stale: Vec<_> = self
            .published
            .values()
            .filter(|o| is_ours(o) && !wanted.contains_key(&o.name))
            .map(|o| o.name.clone())
            .collect();
        // First what is new: a reader in between sees an endpoint twice rather than none.
        wanted.into_values().try_for_each(|slice| self.publish(slice))?;
        stale.iter().try_for_each(|name| self.delete(name))
    }
}
