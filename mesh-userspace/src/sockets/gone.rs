//! TCP sockets of the calling thread's network namespace that are not there any more.

use super::Wanted;
use super::diag::{Diag, Table};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use std::collections::HashSet;
use std::io;

/// The TCP sockets that two lists in a row do not show: a single one may miss what comes or goes meanwhile.
pub fn gone(sockets: &[Wanted]) -> io::Result<Vec<u64>> {
    let diag = Diag::open()?;
    let mut gone: HashSet<u64> = sockets.iter().map(|socket| socket.cookie).collect();
    for _ in 0..2 {
        for family in [AF_INET, AF_INET6] {
            for socket in diag.list(Table { family, protocol: IPPROTO_TCP }, false)? {
                gone.remove(&socket.cookie());
            }
        }
        if gone.is_empty() {
            break;
        }
    }
    Ok(gone.into_iter().collect())
}
