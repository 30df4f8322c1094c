//! What a pod sends: the ingress of the node's end of the pod's interface.

use crate::inbound;
use crate::packet::SocketBuffer;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use mesh_common::packet::{Packet, parse};

#[classifier]
pub fn tc_from_pod(context: TcContext) -> i32 {
    match parse(&SocketBuffer::new(context)) {
        Ok(Packet::Tcp(segment)) => inbound::leaving(&segment),
        Ok(Packet::Udp | Packet::Other) => inbound::PASS,
        Err(reason) => inbound::drop(reason),
    }
}
