//! Typed views of the kernel's contexts.
//!
//! Every access is volatile: LLVM otherwise merges neighbouring fields into one 8-byte access, which the verifier
//! refuses ("invalid bpf_context access off=.. size=8").

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{bpf_sock_addr, bpf_sock_ops};
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::{SockAddrContext, SockContext, SockOpsContext};
use mesh_common::address::{Address, Port, Protocol};

/// Reads one context field, as it is.
macro_rules! read {
    ($pointer:expr, $($field:tt)+) => {
        // SAFETY: the kernel passes a valid context; the field is inside it.
        unsafe { core::ptr::read_volatile(&raw const (*$pointer).$($field)+) }
    };
}

/// Writes one context field, as it is.
macro_rules! write {
    ($pointer:expr, $($field:tt)+) => {
        // SAFETY: the kernel passes a valid context; the field is inside it and writable for this hook.
        |value| unsafe { core::ptr::write_volatile(&raw mut (*$pointer).$($field)+, value) }
    };
}

const AF_INET: u32 = 2;

/// A context that belongs to a socket.
pub trait Socket {
    /// The socket's cookie: unique on this host for as long as it runs.
    fn cookie(&self) -> u64;
}

/// The address that a socket call names, of either family: read as one form, written back as it came.
pub struct SockAddr<const V6: bool>(SockAddrContext);

impl<const V6: bool> SockAddr<V6> {
    /// A view of the hook's context.
    #[inline(always)]
    pub fn new(context: SockAddrContext) -> Self {
        Self(context)
    }

    fn raw(&self) -> *mut bpf_sock_addr {
        self.0.sock_addr
    }

    /// The protocol, if it is one that is balanced.
    #[inline(always)]
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(read!(self.raw(), protocol))
    }

    /// The address; IPv4 is v4-mapped.
    #[inline(always)]
    pub fn address(&self) -> Address {
        let raw = self.raw();
        if V6 {
            Address::from_words([
                read!(raw, user_ip6[0]),
                read!(raw, user_ip6[1]),
                read!(raw, user_ip6[2]),
                read!(raw, user_ip6[3]),
            ])
        } else {
            Address::from_v4_word(read!(raw, user_ip4))
        }
    }

    /// The port.
    #[inline(always)]
    pub fn port(&self) -> Port {
        Port::from_network(read!(self.raw(), user_port) as u16)
    }

    /// Puts another address and port in its place.
    #[inline(always)]
    pub fn set(&self, address: &Address, port: Port) {
        let raw = self.raw();
        let words = address.words();
        if V6 {
            write!(raw, user_ip6[0])(words[0]);
            write!(raw, user_ip6[1])(words[1]);
            write!(raw, user_ip6[2])(words[2]);
            write!(raw, user_ip6[3])(words[3]);
        } else {
            write!(raw, user_ip4)(words[3]);
        }
        write!(raw, user_port)(u32::from(port.network()));
    }

    /// Whether the socket has a peer already: a UDP socket that connects anew.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        let socket = read!(self.raw(), __bindgen_anon_1.sk);
        // SAFETY: the kernel gives these hooks a socket, and lets them read this field of it.
        unsafe { core::ptr::read_volatile(&raw const (*socket).dst_port) != 0 }
    }

    /// The network namespace of the socket (`SO_NETNS_COOKIE`).
    #[inline(always)]
    pub fn netns(&self) -> u64 {
        // SAFETY: a helper that takes this hook's context.
        unsafe { bpf_get_netns_cookie(self.0.as_ptr()) }
    }
}

impl<const V6: bool> Socket for SockAddr<V6> {
    #[inline(always)]
    fn cookie(&self) -> u64 {
        // SAFETY: a helper that takes this hook's context.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }
}

/// A socket that is being released.
pub struct Released(SockContext);

impl Released {
    /// A view of the hook's context.
    #[inline(always)]
    pub fn new(context: SockContext) -> Self {
        Self(context)
    }
}

impl Socket for Released {
    #[inline(always)]
    fn cookie(&self) -> u64 {
        // SAFETY: a helper that takes this hook's context.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }
}

/// A TCP socket's life.
pub struct SockOps(SockOpsContext);

impl SockOps {
    /// A view of the hook's context.
    #[inline(always)]
    pub fn new(context: SockOpsContext) -> Self {
        Self(context)
    }

    fn raw(&self) -> *mut bpf_sock_ops {
        self.0.ops
    }

    /// Which callback this is (`BPF_SOCK_OPS_*`).
    #[inline(always)]
    pub fn op(&self) -> u32 {
        read!(self.raw(), op)
    }

    /// In a state callback: the state that the socket enters (`BPF_TCP_*`).
    #[inline(always)]
    pub fn new_state(&self) -> u32 {
        read!(self.raw(), __bindgen_anon_1.args[1])
    }

    /// In a state callback: the state that the socket leaves (`BPF_TCP_*`).
    #[inline(always)]
    pub fn old_state(&self) -> u32 {
        read!(self.raw(), __bindgen_anon_1.args[0])
    }

    /// In the retransmission timer's callback: how often it has fired before without an acknowledgement in between.
    #[inline(always)]
    pub fn retransmissions(&self) -> u32 {
        read!(self.raw(), __bindgen_anon_1.args[0])
    }

    /// In the callback of a packet that is sent: the bytes that it carries, 0 for an acknowledgement.
    #[inline(always)]
    pub fn payload(&self) -> u32 {
        read!(self.raw(), skb_len)
    }

    /// The socket's state (`BPF_TCP_*`).
    #[inline(always)]
    pub fn state(&self) -> u32 {
        read!(self.raw(), state)
    }

    /// The callbacks that were asked for (`BPF_SOCK_OPS_*_CB_FLAG`).
    #[inline(always)]
    pub fn call_backs(&self) -> u32 {
        read!(self.raw(), bpf_sock_ops_cb_flags)
    }

    /// Bytes received so far.
    #[inline(always)]
    pub fn bytes_received(&self) -> u64 {
        read!(self.raw(), bytes_received)
    }

    /// Asks for callbacks (`BPF_SOCK_OPS_*_CB_FLAG`).
    #[inline(always)]
    pub fn call_back_on(&self, flags: u32) {
        // It fails only for a request socket or a socket that is not full, which none of ours is here.
        let _ = self.0.set_cb_flags(flags.cast_signed());
    }

    /// The peer's address; IPv4 is v4-mapped.
    #[inline(always)]
    pub fn peer_address(&self) -> Address {
        let raw = self.raw();
        // Read both, then choose: of two branches with a read each LLVM makes one read of a chosen pointer, which the
        // verifier refuses ("dereference of modified ctx ptr").
        let v4 = read!(raw, remote_ip4);
        let v6 = [
            read!(raw, remote_ip6[0]),
            read!(raw, remote_ip6[1]),
            read!(raw, remote_ip6[2]),
            read!(raw, remote_ip6[3]),
        ];
        if read!(raw, family) == AF_INET { Address::from_v4_word(v4) } else { Address::from_words(v6) }
    }

    /// The peer's port: big-endian, in the high half of the kernel's word.
    #[inline(always)]
    pub fn peer_port(&self) -> Port {
        Port::from_network((read!(self.raw(), remote_port) >> 16) as u16)
    }
}

impl Socket for SockOps {
    #[inline(always)]
    fn cookie(&self) -> u64 {
        // SAFETY: a helper that takes this hook's context.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }
}
