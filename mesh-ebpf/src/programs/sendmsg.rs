//! `sendto()` and `sendmsg()` of UDP sockets that are not connected.

use crate::context::SockAddr;
use crate::{datagram, verdict};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<false>::new(context);
    verdict::act(&socket, datagram::send(&socket))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<true>::new(context);
    verdict::act(&socket, datagram::send(&socket))
}
