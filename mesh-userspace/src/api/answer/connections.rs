//! Open connections, read from the map.

use super::{Facts, name};
use crate::agent::timestamp;
use crate::api::query::Scope;
use crate::api::types::Connection;
use crate::maps::{MapError, Maps};
use mesh_common::address::{Address, Port};
use mesh_common::tables::{BackendTag, CONFIRMED};
use std::net::SocketAddr;

impl<M: Maps> Facts<'_, M> {
    /// The connections of a scope, oldest first.
    pub(super) fn connections(&self, scope: &Scope) -> Result<Vec<Connection>, MapError> {
        let arrays = self.reconciler.maps().arrays();
        let mut connections = self.reconciler.maps().connections()?;
        connections.sort_by_key(|(cookie, connection)| (connection.opened_at, *cookie));
        let rows = connections.into_iter().filter_map(|(cookie, connection)| {
            let service = self.reconciler.name_of(connection.service).map(|(key, _)| name(key));
            let is_wanted = match &service {
                Some(service) => scope.holds(&service.namespace),
                None => scope.namespace.is_none(),
            };
            let backend = arrays.backend(connection.backend)?;
            is_wanted.then(|| Connection {
                cookie,
                service,
                frontend: socket(connection.frontend.address, connection.frontend.port),
                backend: socket(backend.address(), BackendTag::port_of(backend.tag.load())),
                protocol: connection.frontend.protocol().to_string(),
                netns: connection.netns,
                opened: timestamp(connection.opened_at),
                confirmed: connection.flags & CONFIRMED != 0,
            })
        });
        Ok(rows.collect())
    }
}

fn socket(address: Address, port: Port) -> SocketAddr {
    SocketAddr::new(address.into(), port.host())
}
