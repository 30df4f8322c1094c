//! Where a connection goes: the decision, from the address that the client named.

use crate::affinity;
use crate::choice::{self, Choice};
use crate::connection;
use crate::context::{SockAddr, Socket};
use crate::event::{self, Occasion};
use crate::frontend::{self, Destination};
use crate::maps::SERVICES;
use crate::pick::Client;
use crate::sources;
use crate::verdict::Verdict;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use mesh_common::address::Protocol;
use mesh_common::admission::{self, Full};
use mesh_common::reason::Reason;
use mesh_common::tables::{BackendTag, Connection, FrontendKey, Rule, Service, ServiceId, SlotRange};

/// A connect(): to a backend of the Service that the address belongs to, with a slot taken; or refused; or untouched.
#[inline(always)]
pub fn connect<const V6: bool>(socket: &SockAddr<V6>) -> Verdict {
    let Some(protocol) = socket.protocol() else { return Verdict::Pass };
    let frontend = FrontendKey::new(socket.address(), socket.port(), protocol);
    match frontend::find(&frontend, || socket.netns()) {
        Destination::Service(id) => {
            let occasion = Occasion { cookie: socket.cookie(), frontend: &frontend, service: id };
            match admit(socket, &occasion) {
                Ok(choice) => {
                    let tag = choice.backend.tag.load();
                    let verdict = Verdict::Forward(choice.backend.address, BackendTag::port_of(tag));
                    event::chosen(socket, &occasion, &choice);
                    verdict
                }
                Err(reason) => refuse(socket, &occasion, reason),
            }
        }
        Destination::Unlisted(account) => {
            let occasion = Occasion { cookie: socket.cookie(), frontend: &frontend, service: account };
            refuse(socket, &occasion, Reason::NoSuchPort)
        }
        Destination::Foreign => {
            // A connected UDP socket may leave its Service for another address; a TCP socket that does so after a connect
            // that failed is noticed at its SYN.
            if matches!(protocol, Protocol::Udp) && socket.is_connected() {
                connection::release(socket.cookie());
            }
            Verdict::Pass
        }
    }
}

/// Counts and reports a refusal.
#[inline(always)]
pub fn refuse<const V6: bool>(socket: &SockAddr<V6>, occasion: &Occasion<'_>, reason: Reason) -> Verdict {
    event::refused(socket, occasion, reason);
    Verdict::Refuse
}

/// Takes a slot on the account and on a backend, and records both with the socket; or takes nothing.
#[inline(always)]
fn admit<const V6: bool>(socket: &SockAddr<V6>, occasion: &Occasion<'_>) -> Result<Choice, Reason> {
    let Some(service) = SERVICES.get(occasion.service.0) else { return Err(Reason::Inconsistent) };
    let rule = service.rule.load();
    if !sources::may_reach(rule, !occasion.frontend.address.is_v4(), || socket.netns()) {
        return Err(Reason::SourceRange);
    }
    let range = SlotRange::unpack(service.slots.load());
    if range.len == 0 {
        return Err(Reason::NoBackend);
    }
    let account_id = Rule::account_of(rule);
    let account = account_of(service, occasion.service, account_id)?;
    take_account(account, account_id, occasion.cookie)?;
    let limit = account.max_connections_per_backend.load();
    let dialling = Client { netns: socket.netns(), port: occasion.frontend.port };
    let client = affinity::client(service, occasion.service, || dialling.netns);
    let kept = client.as_ref().and_then(|client| client.kept(range));
    let choice = match choice::take(service, range, limit, dialling, kept) {
        // A socket that holds a slot of this Service may be what fills its backend.
        Err(Reason::BackendLimit) if connection::release_own(occasion.cookie, account_id) => {
            choice::take(service, range, limit, dialling, kept)
        }
        choice => choice,
    };
    let mut choice = match choice {
        Ok(choice) => choice,
        Err(reason) => {
            admission::give_back(&account.active);
            return Err(reason);
        }
    };
    // A backend that is kept to but full is not forgotten: the spilled connection is an exception.
    if let (Some(client), None) = (&client, kept)
        && let Some(position) = client.remember(&choice, range)
    {
        choice = choice::move_to(choice, range, position, limit);
    }
    let held = Connection {
        frontend: *occasion.frontend,
        account: account_id,
        service: occasion.service,
        backend: choice.id,
        netns: dialling.netns,
        // SAFETY: a helper without arguments.
        opened_at: unsafe { bpf_ktime_get_coarse_ns() },
        flags: 0,
    };
    if !connection::hold(occasion.cookie, &held) {
        connection::give_back(account_id, choice.id);
        return Err(Reason::TableFull);
    }
    service.opened.fetch_add(1);
    Ok(choice)
}

/// The entry that counts for the whole Service: the port's own, most often.
#[inline(always)]
fn account_of(service: &'static Service, id: ServiceId, account: ServiceId) -> Result<&'static Service, Reason> {
    if account == id { Ok(service) } else { SERVICES.get(account.0).ok_or(Reason::Inconsistent) }
}

/// Takes a slot of the Service. A socket that holds one already (a connect that failed on this host, a UDP socket that
/// connects anew) is not refused because of itself.
#[inline(always)]
fn take_account(account: &Service, id: ServiceId, cookie: u64) -> Result<(), Reason> {
    let limit = account.max_connections.load();
    match admission::take(&account.active, limit) {
        Ok(()) => Ok(()),
        Err(Full::Contended) => Err(Reason::Contended),
        Err(Full::AtLimit) => {
            if connection::release_own(cookie, id) && admission::take_once(&account.active, limit) {
                Ok(())
            } else {
                Err(Reason::ServiceLimit)
            }
        }
    }
}
