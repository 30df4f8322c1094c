//! A TCP socket's life: its SYN confirms the slot, its end gives it back (refused and reset connections included); and its
//! backend is judged by it, where the Service asks for that.

use crate::context::{SockOps, Socket};
use crate::{answer, connection, health};
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB, BPF_SOCK_OPS_RTO_CB, BPF_SOCK_OPS_RTO_CB_FLAG,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use mesh_common::tables::WATCHED;

/// The retransmission timer's callback, which also marks the sockets that are watched: so the others need no lookup.
const WATCHING: u32 = BPF_SOCK_OPS_RTO_CB_FLAG;

#[sock_ops]
pub fn sock_ops(context: SockOpsContext) -> u32 {
    let socket = SockOps::new(context);
    match socket.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            let flags = connection::confirm(socket.cookie(), &socket.peer_address(), socket.peer_port());
            if flags & WATCHED != 0 {
                socket.call_back_on(BPF_SOCK_OPS_STATE_CB_FLAG | WATCHING);
            } else if flags != 0 {
                socket.call_back_on(BPF_SOCK_OPS_STATE_CB_FLAG);
            }
        }
        BPF_SOCK_OPS_RTO_CB => health::unacknowledged(&socket),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB if socket.call_backs() & WATCHING != 0 => health::connected(&socket),
        // Nothing but what waits for its first answer asks for it.
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => answer::sending(&socket),
        BPF_SOCK_OPS_STATE_CB if socket.new_state() == BPF_TCP_CLOSE => {
            if socket.call_backs() & WATCHING != 0 {
                health::ended(&socket);
            }
            connection::release(socket.cookie());
        }
        _ => {}
    }
    1
}
