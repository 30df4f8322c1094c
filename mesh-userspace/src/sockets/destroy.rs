//! Sockets of the calling thread's network namespace, found by their cookies and ended.

use super::diag::{Diag, Table};
use super::{Idle, Suspect, Wanted};
use mesh_common::address::Protocol;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use std::collections::{HashMap, HashSet};
use std::io;

/// The state of a socket that is connecting (`TCP_SYN_SENT`): it is not idle, however long it waits.
const SYN_SENT: u8 = 2;

/// Ends the sockets; returns the cookies of those that were found and ended.
pub fn all(sockets: &[Wanted]) -> io::Result<Vec<u64>> {
    let diag = Diag::open()?;
    let mut ended = Vec::new();
    for (of, protocol) in [(Protocol::Tcp, IPPROTO_TCP), (Protocol::Udp, IPPROTO_UDP)] {
        let wanted: HashSet<u64> =
            sockets.iter().filter(|socket| socket.protocol == of).map(|socket| socket.cookie).collect();
        if wanted.is_empty() {
            continue;
        }
        for family in [AF_INET, AF_INET6] {
            let table = Table { family, protocol };
            for socket in diag.list(table, false)? {
                let cookie = socket.cookie();
                if wanted.contains(&cookie) && diag.destroy(table, socket.id)? {
                    ended.push(cookie);
                }
            }
        }
    }
    Ok(ended)
}

/// Ends those of the TCP sockets that have been idle for long enough; returns what was seen of each that was found.
pub fn idle(suspects: &[Suspect]) -> io::Result<Vec<(u64, Idle)>> {
    let diag = Diag::open()?;
    let allowed: HashMap<u64, u32> = suspects.iter().map(|suspect| (suspect.socket.cookie, suspect.allowed)).collect();
    let mut seen = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let table = Table { family, protocol: IPPROTO_TCP };
        for socket in diag.list(table, true)? {
            let cookie = socket.cookie();
            let Some(&allowed) = allowed.get(&cookie) else { continue };
            let is_over = |idle: Option<u32>, state| idle.filter(|idle| *idle >= allowed && state != SYN_SENT);
            if is_over(socket.idle, socket.state).is_none() {
                seen.push((cookie, Idle::For(socket.idle.filter(|_| socket.state != SYN_SENT).unwrap_or(0))));
                continue;
            }
            // It may have spoken while the others were listed.
            let Some(now) = diag.look(table, socket.id.clone())? else { continue };
            if is_over(now.idle, now.state).is_none() {
                seen.push((cookie, Idle::For(now.idle.unwrap_or(0))));
            } else if diag.destroy(table, socket.id)? {
                seen.push((cookie, Idle::Ended));
            }
        }
    }
    Ok(seen)
}
