//! What is on its way to a pod: the egress of the node's end of the pod's interface.

use crate::inbound;
use crate::packet::SocketBuffer;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use mesh_common::packet::{Packet, parse};

#[classifier]
pub fn tc_to_pod(context: TcContext) -> i32 {
    let packet = SocketBuffer::new(context);
    match parse(&packet) {
        Ok(Packet::Tcp(segment)) => inbound::arriving(&packet, &segment),
        Ok(Packet::Udp | Packet::Other) => inbound::PASS,
        Err(reason) => inbound::drop(reason),
    }
}
