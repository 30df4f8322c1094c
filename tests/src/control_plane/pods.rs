//! The pods that the workloads ask for, started and ended.

use super::service::{ServedService, target};
use super::workload::{Port, Workload, transport};
use crate::echo::Listen;
use crate::object::ObjectName;
use crate::world::{Pod, Process, World};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What a pod's endpoints say of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PodState {
    /// It is ready.
    Ready,
    /// It is not: a readiness probe fails.
    NotReady,
    /// It was asked to end and still serves.
    Terminating,
}

/// A running pod of a workload, with the echo server on its ports.
#[derive(Debug)]
pub struct Replica {
    /// The pod.
    pub pod: Pod,
    /// The namespace of its workload.
    pub namespace: String,
    /// The workload.
    pub workload: ObjectName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its containers' ports.
    pub ports: Vec<Port>,
    /// What its endpoints say.
    pub state: PodState,
    listening: BTreeSet<Listen>,
    servers: Vec<Process>,
}

impl Replica {
    /// Its name.
    pub fn name(&self) -> &str {
        self.pod.name()
    }

    /// Its program dies: from now on its ports refuse.
    pub fn crash(&mut self) {
        self.servers.iter_mut().for_each(Process::kill);
        self.servers.clear();
        self.listening.clear();
    }
}

/// All pods of a world's workloads.
#[derive(Debug)]
pub struct Pods<'w> {
    world: &'w World,
    all: Vec<Replica>,
    /// The last number that a workload's name got, in whatever namespace: pods' names are the world's.
    last: BTreeMap<String, usize>,
}

impl<'w> Pods<'w> {
    pub fn new(world: &'w World) -> Self {
        Self { world, all: Vec::new(), last: BTreeMap::new() }
    }

    pub fn all(&self) -> &[Replica] {
        &self.all
    }

    pub fn get_mut(&mut self, name: &str) -> Result<&mut Replica> {
        self.all.iter_mut().find(|replica| replica.name() == name).with_context(|| format!("there is no pod {name}"))
    }

    pub fn take(&mut self, name: &str) -> Result<Replica> {
        let found = self.all.iter().position(|replica| replica.name() == name);
        Ok(self.all.remove(found.with_context(|| format!("there is no pod {name}"))?))
    }

    /// The pods that no workload wants, the youngest first.
    pub fn surplus(&self, workloads: &BTreeMap<ObjectName, Workload>) -> Vec<String> {
        let mut wanted: BTreeMap<_, _> = workloads.iter().map(|(name, workload)| (name, workload.replicas)).collect();
        let mut surplus = Vec::new();
        for replica in &self.all {
            match wanted.get_mut(&replica.workload) {
                Some(left) if *left > 0 => *left -= 1,
                _ => surplus.insert(0, replica.name().to_owned()),
            }
        }
        surplus
    }

    /// Starts the pods that are missing.
    pub fn start_missing(&mut self, workloads: &BTreeMap<ObjectName, Workload>) -> Result<()> {
        for workload in workloads.values() {
            let running = self.all.iter().filter(|replica| replica.workload == workload.name).count();
            for _ in running..workload.replicas {
                let started = self.start(workload).with_context(|| format!("start a pod of {}", workload.name))?;
                self.all.push(started);
            }
        }
        Ok(())
    }

    fn start(&mut self, workload: &Workload) -> Result<Replica> {
        let number = self.last.entry(workload.name.name.clone()).or_default();
        *number += 1;
        let name = format!("{}-{number}", workload.name.name);
        let pod = if workload.host_network { self.world.host_pod(&name)? } else { self.world.pod(&name)? };
        Ok(Replica {
            pod,
            namespace: workload.name.namespace.clone(),
            workload: workload.name.clone(),
            labels: workload.labels.clone(),
            ports: workload.ports.clone(),
            state: PodState::Ready,
            listening: BTreeSet::new(),
            servers: Vec::new(),
        })
    }

    /// Has each pod listen on its containers' ports and on what Services expect of it: a port that a container does
    /// not list is open in Kubernetes all the same if the program listens.
    pub fn listen(&mut self, services: &BTreeMap<ObjectName, ServedService>) -> Result<()> {
        for replica in &mut self.all {
            let mut wanted: BTreeSet<_> = replica.ports.iter().map(|port| port.listen).collect();
            for service in services.values().filter(|service| service.selects(replica)) {
                wanted.extend(service.ports().iter().filter_map(|port| {
                    let transport = transport(port.protocol.as_deref())?;
                    Some(Listen { transport, port: target(port, replica)? })
                }));
            }
            let missing: Vec<_> = wanted.difference(&replica.listening).copied().collect();
            if !missing.is_empty() {
                replica.servers.push(replica.pod.serve(&missing)?);
                replica.listening.extend(missing);
            }
        }
        Ok(())
    }
}
