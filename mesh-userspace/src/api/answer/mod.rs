//! Answers, built from what the owner of the state owns. Nothing here waits.

mod backends;
mod client;
mod connections;
mod explain;
mod inbound;
mod likelihood;
mod notes;
mod places;
mod policies;
mod services;
mod status;

use super::Query;
use super::types::{Finding, Load, ServiceName, ServiceTable};
use crate::agent::engine::Engine;
use crate::maps::inbound::InboundFigures;
use crate::maps::{KernelMaps, MapError, Maps};
use crate::metrics::{self, Figures};
use crate::model::ServiceKey;
use crate::plan::Subject;
use crate::reconcile::{Pending, Reconciler};
use crate::state::ClusterState;
use mesh_common::tables::{ServiceId, UNLIMITED};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Answers one question. The asker may be gone: a failed send is not an error.
pub fn answer(engine: &Engine, query: Query) {
    let facts = Facts { inbound: Some(engine.inbound().figures()), ..Facts::new(&engine.state, &engine.reconciler) };
    match query {
        Query::Alive(reply) => drop(reply.send(())),
        Query::Vitals(reply) => drop(reply.send(status::vitals(engine))),
        Query::Figures(reply) => drop(reply.send(Box::new(figures(engine, &facts)))),
        Query::Status(reply) => drop(reply.send(status::status(engine, &facts))),
        Query::Services(scope, reply) => drop(reply.send(facts.services(&scope))),
        Query::Service(namespace, name, reply) => drop(reply.send(facts.service(&ServiceKey::new(namespace, name)))),
        Query::Policies(scope, reply) => drop(reply.send(facts.policies(&scope))),
        Query::Policy(namespace, name, reply) => drop(reply.send(facts.policy_details(&namespace, &name))),
        Query::Backends(scope, reply) => drop(reply.send(facts.backends(&scope))),
        Query::Connections(scope, reply) => match facts.connections(&scope) {
            Ok(connections) => drop(reply.send(connections)),
            // Without an answer the server says that the log tells why.
            Err(error) => tracing::error!(%error, "the connections could not be listed"),
        },
        Query::Explain(question, reply) => drop(reply.send(facts.explain(&question))),
        Query::Findings(reply) => drop(reply.send(facts.findings())),
        Query::Events(reply) => drop(reply.send(engine.feed())),
        Query::Tables(reply) => match facts.tables() {
            Ok(tables) => drop(reply.send(tables)),
            Err(error) => tracing::error!(%error, "the connections could not be counted"),
        },
    }
}

/// What `/metrics` shows.
fn figures(engine: &Engine, facts: &Facts<'_, KernelMaps>) -> Figures {
    let (services, left_out) = metrics::services(&engine.reconciler);
    let [changes, syncs] = engine.progress.histograms();
    Figures { status: status::status(engine, facts), services, left_out, changes, syncs }
}

/// What the cluster says and what the maps hold.
struct Facts<'a, M> {
    state: &'a ClusterState,
    reconciler: &'a Reconciler<M>,
    /// What is counted at backends' own interfaces; `None` without a kernel.
    inbound: Option<&'a InboundFigures>,
    /// Services whose maps are not yet as they should be.
    waiting: HashMap<&'a ServiceKey, &'a Pending>,
}

impl<'a, M: Maps> Facts<'a, M> {
    fn new(state: &'a ClusterState, reconciler: &'a Reconciler<M>) -> Self {
        let waiting = reconciler.pending().filter_map(|(subject, pending)| match subject {
            Subject::Service(key) => Some((key, pending)),
            Subject::Orphan(_) => None,
        });
        Self { state, reconciler, inbound: None, waiting: waiting.collect() }
    }

    fn findings(&self) -> Vec<Finding> {
        self.state.findings().iter().map(Finding::from).collect()
    }

    /// What the maps hold of each Service that has a name.
    fn tables(&self) -> Result<Vec<ServiceTable>, MapError> {
        let mut loads: HashMap<ServiceId, HashMap<u64, u64>> = HashMap::new();
        for (_, connection) in self.reconciler.maps().connections()? {
            *loads.entry(connection.account).or_default().entry(connection.netns).or_default() += 1;
        }
        let load = |account, service| {
            let mut clients: Vec<u64> = loads.get(&account).into_iter().flat_map(HashMap::values).copied().collect();
            clients.sort_unstable_by_key(|open| Reverse(*open));
            Load { clients, backends: self.backend_loads(service) }
        };
        let accounts = self.reconciler.applied().accounts().filter(|account| !account.is_empty() && !account.nodes);
        let named = accounts.filter_map(|account| {
            let service = account.service.as_ref()?;
            let table = ServiceTable::applied(name(service), account, load(account.id, service));
            Some(table.with_inbound(self.state.limits(service)))
        });
        let mut tables: Vec<_> = named.collect();
        tables.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(tables)
    }
}

fn name(key: &ServiceKey) -> ServiceName {
    ServiceName { namespace: key.namespace.to_string(), name: key.name.to_string() }
}

/// A limit of the tables, as the API gives it.
fn limit(limit: u64) -> Option<u64> {
    (limit != UNLIMITED).then_some(limit)
}

/// Why a Service is not as it should be, with what to do.
fn problems(pending: &Pending) -> String {
    let problems = pending.problems().iter().map(|problem| format!("{problem}; {}", problem.action()));
    problems.collect::<Vec<_>>().join(". ")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
