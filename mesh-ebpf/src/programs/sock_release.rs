//! The last descriptor of a socket closes: by close(), exit or SIGKILL.

use crate::connection;
use crate::context::{Released, Socket};
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;

#[cgroup_sock(sock_release)]
pub fn sock_release(context: SockContext) -> i32 {
    connection::release(Released::new(context).cookie());
    1
}
