//! `connect()` of TCP and UDP sockets.

use crate::context::SockAddr;
use crate::{flow, verdict};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<false>::new(context);
    verdict::act(&socket, flow::connect(&socket))
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<true>::new(context);
    verdict::act(&socket, flow::connect(&socket))
}
