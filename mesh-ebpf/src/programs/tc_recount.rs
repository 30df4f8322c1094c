//! What the agent asks about connections that hold slots. Attached nowhere: run by `BPF_PROG_TEST_RUN`, so that looking for the
//! pod's socket and giving its slot back are done where all other slots are given back, without entering the pod.

use crate::inbound;
use crate::packet::SocketBuffer;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

#[classifier]
pub fn tc_recount(context: TcContext) -> i32 {
    inbound::recount(&SocketBuffer::new(context))
}
