//! A TCP socket's life: its SYN confirms the slot, its end gives it back (refused and reset connections included).

use crate::connection;
use crate::context::{SockOps, Socket};
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;

#[expect(clippy::collapsible_match, reason = "confirming has an effect, and a guard should have none")]
#[sock_ops]
pub fn sock_ops(context: SockOpsContext) -> u32 {
    let socket = SockOps::new(context);
    match socket.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            if connection::confirm(socket.cookie(), &socket.peer_address(), socket.peer_port()) {
                socket.call_back_on(BPF_SOCK_OPS_STATE_CB_FLAG);
            }
        }
        BPF_SOCK_OPS_STATE_CB if socket.new_state() == BPF_TCP_CLOSE => {
            connection::release(socket.cookie());
        }
        _ => {}
    }
    1
}
