//! The peer that `getpeername()` shows.

use crate::context::{SockAddr, Socket};
use crate::{connection, verdict};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<false>::new(context);
    verdict::show(&socket, connection::frontend_of(socket.cookie(), &socket.address(), socket.port()))
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(context: SockAddrContext) -> i32 {
    let socket = SockAddr::<true>::new(context);
    verdict::show(&socket, connection::frontend_of(socket.cookie(), &socket.address(), socket.port()))
}
