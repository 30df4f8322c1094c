//! The last descriptor of a socket closes: by close(), exit or SIGKILL.

use crate::context::{Released, Socket};
use crate::{connection, health};
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;

#[cgroup_sock(sock_release)]
pub fn sock_release(context: SockContext) -> i32 {
    if let Some(held) = connection::release(Released::new(context).cookie()) {
        health::closed(held.account, held.backend, held.flags);
    }
    1
}
