//! `SOCK_DESTROY` for sockets of the calling thread's network namespace, found by their cookies.

use super::Doomed;
use mesh_common::address::Protocol;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SOCK_DESTROY, SockDiagMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use std::collections::HashSet;
use std::io;

/// Ends the sockets; returns the cookies of those that were found and ended.
pub fn destroy(sockets: &[Doomed]) -> io::Result<Vec<u64>> {
    let mut netlink = Socket::new(NETLINK_SOCK_DIAG)?;
    netlink.bind_auto()?;
    netlink.connect(&SocketAddr::new(0, 0))?;
    let mut ended = Vec::new();
    for (protocol, number) in [(Protocol::Tcp, IPPROTO_TCP), (Protocol::Udp, IPPROTO_UDP)] {
        let wanted: HashSet<u64> =
            sockets.iter().filter(|socket| socket.protocol == protocol).map(|socket| socket.cookie).collect();
        if wanted.is_empty() {
            continue;
        }
        for family in [AF_INET, AF_INET6] {
            for id in list(&netlink, family, number)? {
                let cookie = u64::from_ne_bytes(id.cookie);
                if wanted.contains(&cookie) && destroy_one(&netlink, family, number, id)? {
                    ended.push(cookie);
                }
            }
        }
    }
    Ok(ended)
}

fn request(family: u8, protocol: u8, socket_id: SocketId) -> SockDiagMessage {
    let (extensions, states) = (ExtensionFlags::empty(), StateFlags::all());
    SockDiagMessage::InetRequest(InetRequest { family, protocol, extensions, states, socket_id })
}

/// The ids of all sockets of one family and protocol.
fn list(netlink: &Socket, family: u8, protocol: u8) -> io::Result<Vec<SocketId>> {
    let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    send(netlink, request(family, protocol, any), None, NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut ids = Vec::new();
    loop {
        let (buffer, _) = netlink.recv_from_full()?;
        for message in messages(&buffer) {
            match message?.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    ids.push(response.header.socket_id);
                }
                NetlinkPayload::Done(_) => return Ok(ids),
                // A protocol whose diagnosis this kernel lacks (CONFIG_INET_UDP_DIAG) lists nothing.
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}

/// Ends one socket; `false` when it ended by itself meanwhile.
fn destroy_one(netlink: &Socket, family: u8, protocol: u8, id: SocketId) -> io::Result<bool> {
    send(netlink, request(family, protocol, id), Some(SOCK_DESTROY), NLM_F_REQUEST | NLM_F_ACK)?;
    let (buffer, _) = netlink.recv_from_full()?;
    for message in messages(&buffer) {
        if let NetlinkPayload::Error(error) = message?.payload {
            return match error.code {
                None => Ok(true),
                Some(_) if error.to_io().raw_os_error() == Some(libc::ENOENT) => Ok(false),
                Some(_) => Err(error.to_io()),
            };
        }
    }
    Ok(true)
}

fn send(netlink: &Socket, message: SockDiagMessage, as_type: Option<u16>, flags: u16) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut packet = NetlinkMessage::new(header, message.into());
    packet.finalize();
    if let Some(message_type) = as_type {
        packet.header.message_type = message_type;
    }
    let mut buffer = vec![0; packet.header.length as usize];
    packet.serialize(&mut buffer);
    netlink.send(&buffer, 0).map(drop)
}

/// The messages of one datagram.
fn messages(buffer: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<SockDiagMessage>>> + '_ {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = match NetlinkMessage::<SockDiagMessage>::deserialize(rest) {
            Ok(message) => message,
            Err(error) => {
                rest = &[];
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())));
            }
        };
        let length = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
        rest = &rest[length..];
        Some(Ok(message))
    })
}
