//! The programs' events: read from the ring, and named.

#![expect(unsafe_code, reason = "records that the programs wrote")]

use super::clock;
use crate::api::types;
use crate::datapath::Loaded;
use anyhow::Context;
use aya::maps::{Map, MapData, RingBuf};
use mesh_common::address::{Address, Port};
use mesh_common::reason::Reason;
use mesh_common::tables::Event;
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The ring, with a descriptor that wakes a task.
pub struct Ring(AsyncFd<RingBuf<MapData>>);

impl Ring {
    /// Opens the pinned ring.
    pub fn new(loaded: &Loaded) -> anyhow::Result<Self> {
        let fd = loaded.map("EVENTS")?;
        let data = MapData::from_fd(fd).context("open the ring of events")?;
        let ring = RingBuf::try_from(Map::from_map_data(data)?).context("open the ring of events")?;
        // SAFETY: the ring keeps its descriptor, and gives the same one, for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self(ring.map_err(std::io::Error::from).context("wait for events")?))
    }

    /// Waits for events, then gives each to `take`.
    pub async fn read(&mut self, mut take: impl FnMut(&Event)) -> std::io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        while let Some(record) = ring.next() {
            if record.len() == size_of::<Event>() {
                // SAFETY: the record has the event's size; every bit pattern is an event, of plain integers.
                take(&unsafe { std::ptr::read_unaligned(record.as_ptr().cast::<Event>()) });
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

/// The event as the API gives it.
pub fn describe(event: &Event, service: Option<types::ServiceName>) -> types::Event {
    let reason = Reason::from_number(event.reason).unwrap_or(Reason::Inconsistent);
    let command = event.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_sent = event.backend != Address::default();
    types::Event {
        at: clock::timestamp(event.at),
        reason: reason.name().to_owned(),
        refused: reason.is_refusal(),
        service,
        frontend: socket_address(event.frontend.address, event.frontend.port),
        protocol: event.frontend.protocol().to_string(),
        backend: is_sent.then(|| socket_address(event.backend, event.backend_port)),
        pid: event.pid,
        command: String::from_utf8_lossy(command).into_owned(),
        netns: event.netns,
        cgroup: event.cgroup,
        cookie: event.cookie,
    }
}

fn socket_address(address: Address, port: Port) -> SocketAddr {
    SocketAddr::new(address.into(), port.host())
}
