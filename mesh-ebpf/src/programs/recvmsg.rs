//! The source that `recvfrom()` and `recvmsg()` show to UDP sockets.

use crate::context::SockAddr;
use crate::{datagram, verdict};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<false>::new(context);
    verdict::show(&socket, datagram::source_shown(&socket))
}

#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<true>::new(context);
    verdict::show(&socket, datagram::source_shown(&socket))
}
