//! Datagrams of UDP sockets that are not connected: a flow for each socket and frontend, so that replies look right and
//! a conversation stays with its backend for as long as that backend serves.

use crate::affinity;
use crate::choice::{self, Choice};
use crate::connection;
use crate::context::{SockAddr, Socket};
use crate::event::{self, Occasion};
use crate::flow;
use crate::flow_limit;
use crate::frontend::{self, Destination};
use crate::maps::{BACKENDS, FLOWS, REPLIES, SERVICES};
use crate::pick::Client;
use crate::sources;
use crate::verdict::Verdict;
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::reason::Reason;
use mesh_common::tables::{BackendTag, Flow, FlowKey, FrontendKey, ReplyKey, Rule, SlotRange};

const ANY: u64 = 0;

/// A sendto(): to the backend of its flow, or to one chosen now; or refused; or untouched. It holds no slot of the Service
/// or a backend: a datagram is no connection.
#[inline(always)]
pub fn send<const V6: bool>(socket: &SockAddr<V6>) -> Verdict {
    let frontend = FrontendKey::new(socket.address(), socket.port(), Protocol::Udp);
    let id = match frontend::find(&frontend, || socket.netns()) {
        Destination::Foreign => return Verdict::Pass,
        Destination::Service(id) => id,
        Destination::Unlisted(account) => {
            let occasion = Occasion { cookie: socket.cookie(), frontend: &frontend, service: account };
            return flow::refuse(socket, &occasion, Reason::NoSuchPort);
        }
    };
    let occasion = Occasion { cookie: socket.cookie(), frontend: &frontend, service: id };
    let key = FlowKey { cookie: occasion.cookie, service: id, _pad: 0 };
    if let Some((address, port, rule)) = going_on(&key) {
        if let Err(reason) = flow_limit::keep(rule, id, occasion.cookie, socket.netns()) {
            return flow::refuse(socket, &occasion, reason);
        }
        expect_reply(&occasion, address, port);
        event::count(id, Reason::FlowKept);
        return Verdict::Forward(address, port);
    }
    match begin(socket, &key, &frontend) {
        Ok(choice) => {
            let address = choice.backend.address;
            let port = BackendTag::port_of(choice.backend.tag.load());
            expect_reply(&occasion, address, port);
            event::chosen(socket, &occasion, &choice);
            Verdict::Forward(address, port)
        }
        Err(reason) => flow::refuse(socket, &occasion, reason),
    }
}

/// The frontend that a datagram from `address:port` must show, if the socket spoke to that backend through one.
#[inline(always)]
pub fn source_shown<const V6: bool>(socket: &SockAddr<V6>) -> Option<(Address, Port)> {
    let (cookie, address, port) = (socket.cookie(), socket.address(), socket.port());
    if let Some(frontend) = connection::frontend_of(cookie, &address, port) {
        return Some(frontend);
    }
    // SAFETY: should the element be evicted and reused this instant, the client sees a source that it does not know and
    // drops the datagram, as UDP clients must be able to.
    let frontend = unsafe { REPLIES.get(ReplyKey { cookie, address, port, _pad: [0; 3] }) }?;
    Some((frontend.address, frontend.port))
}

/// The backend of the flow, while it serves, and the Service's rule. Its entry may have become that of the same pod and port for
/// another Service.
#[inline(always)]
fn going_on(key: &FlowKey) -> Option<(Address, Port, u64)> {
    // SAFETY: what is read is checked against the backend below, so a reused element is noticed.
    let flow = unsafe { FLOWS.get(key) }?;
    let rule = SERVICES.get(key.service.0)?.rule.load();
    let account = Rule::account_of(rule);
    let backend = BACKENDS.get(flow.backend.0)?;
    let tag = backend.tag.load();
    let same = backend.address == flow.address
        && BackendTag::port_of(tag) == flow.port
        && BackendTag::account_of(tag) == account;
    if same && BackendTag::is_serving(tag) { Some((flow.address, flow.port, rule)) } else { None }
}

/// Chooses a backend and remembers it.
#[inline(always)]
fn begin<const V6: bool>(socket: &SockAddr<V6>, key: &FlowKey, frontend: &FrontendKey) -> Result<Choice, Reason> {
    let Some(service) = SERVICES.get(key.service.0) else { return Err(Reason::Inconsistent) };
    let rule = service.rule.load();
    if !sources::may_reach(rule, !frontend.address.is_v4(), || socket.netns()) {
        return Err(Reason::SourceRange);
    }
    let range = SlotRange::unpack(service.slots.load());
    if range.len == 0 {
        return Err(Reason::NoBackend);
    }
    let dialling = Client { netns: socket.netns(), port: frontend.port };
    flow_limit::keep(rule, key.service, key.cookie, dialling.netns)?;
    let client = affinity::client(service, key.service, || dialling.netns);
    let kept = client.as_ref().and_then(|client| client.kept(range));
    let mut choice = choice::look(service, range, dialling, kept)?;
    if let (Some(client), None) = (&client, kept)
        && let Some(position) = client.remember(&choice, range)
    {
        choice = choice::look(service, range, dialling, Some(position))?;
    }
    let Choice { id, backend, .. } = choice;
    let port = BackendTag::port_of(backend.tag.load());
    // An LRU table takes every insert but for a passing failure to evict; then the next datagram picks anew.
    let _ = FLOWS.insert(key, Flow { address: backend.address, backend: id, port, _pad: 0 }, ANY);
    service.opened.fetch_add(1);
    Ok(choice)
}

/// Remembers what the backend's replies to this socket must look like.
#[inline(always)]
fn expect_reply(occasion: &Occasion<'_>, address: Address, port: Port) {
    let key = ReplyKey { cookie: occasion.cookie, address, port, _pad: [0; 3] };
    // SAFETY: only its value is compared.
    match unsafe { REPLIES.get(key) } {
        Some(frontend) if *frontend == *occasion.frontend => {}
        _ => {
            let _ = REPLIES.insert(key, occasion.frontend, ANY);
        }
    }
}
