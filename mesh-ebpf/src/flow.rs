//! Where a connection goes: the decision, from the address that the client named.

use crate::affinity;
use crate::choice::{self, Choice};
use crate::connection;
use crate::context::{SockAddr, Socket};
use crate::event::{self, Occasion};
use crate::frontend::{self, Destination};
use crate::limits;
use crate::maps::SERVICES;
use crate::pick::Client;
use crate::sources;
use crate::verdict::Verdict;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use mesh_common::address::Protocol;
use mesh_common::admission::{self, Full};
use mesh_common::reason::Reason;
use mesh_common::tables::{BackendTag, Connection, FrontendKey, Rule, Service, ServiceId, SlotRange, WATCHED};

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
    let netns = socket.netns();
    let place =
        if Rule::has_traffic(rule) { take_limits(account_id, occasion.service, occasion.cookie, netns)? } else { 0 };
    if let Err(reason) = take_account(account, account_id, occasion.cookie) {
        if limits::refuses(account_id, occasion.service, place, reason) {
            return Err(reason);
        }
        account.active.fetch_add(1);
    }
    let limit = account.max_connections_per_backend.load();
    let dialling = Client { netns, port: occasion.frontend.port };
    let client = affinity::client(service, occasion.service, || netns);
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
            // Where a limit only observes, the backend that is picked takes it.
            let looked = choice::look(service, range, dialling, kept);
            let reason = if looked.is_ok() { reason } else { Reason::Inconsistent };
            let refused = limits::refuses(account_id, occasion.service, place, reason);
            match looked {
                Ok(choice) if !refused => {
                    choice.backend.active.fetch_add(1);
                    choice
                }
                _ => {
                    admission::give_back(&account.active);
                    return Err(reason);
                }
            }
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
        netns,
        // SAFETY: a helper without arguments.
        opened_at: unsafe { bpf_ktime_get_coarse_ns() },
        flags: if Rule::has_outlier(rule) { WATCHED } else { 0 },
        client: place,
    };
    if !connection::hold(occasion.cookie, &held) {
        connection::give_back(account_id, choice.id, place);
        return Err(Reason::TableFull);
    }
    service.opened.fetch_add(1);
    Ok(choice)
}

/// Takes what limits by client and by rate ask for. A socket that holds a slot of its client is not refused because of
/// itself.
#[inline(always)]
fn take_limits(account: ServiceId, service: ServiceId, cookie: u64, netns: u64) -> Result<u32, Reason> {
    match limits::take(account, service, netns) {
        Err(Reason::ClientLimit) if connection::release_own(cookie, account) => limits::take(account, service, netns),
        result => result,
    }
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
