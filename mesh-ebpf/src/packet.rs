//! A typed view of the socket buffer that a TC program is given.

use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_sk_release,
    bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie,
    bpf_tcp_sock,
};
use aya_ebpf::programs::TcContext;
use core::mem::MaybeUninit;
use core::ptr::{from_ref, read_volatile};
use mesh_common::packet::{Bytes, Header, Segment, Word};
use mesh_common::tables::InboundKey;
use network_types::eth::EthHdr;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;

/// Headers so near to the start are read in place, which saves a call (10 ns); the verifier wants it bounded.
const NEAR: usize = 0xff;

/// `bpf_redirect`: as if received by the interface.
const INGRESS: u64 = 1;
/// `bpf_l4_csum_replace`: what changes is in the pseudo-header.
pub const PSEUDO_HEADER: u64 = 0x10;

/// The packet at hand. Its length is that of the whole, GSO packets included.
pub struct SocketBuffer(*mut __sk_buff);

/// A helper failed: the packet cannot be changed as it should be.
pub struct Failed;

fn done(result: i64) -> Result<(), Failed> {
    if result == 0 { Ok(()) } else { Err(Failed) }
}

impl SocketBuffer {
    #[expect(clippy::needless_pass_by_value, reason = "a program has one context")]
    pub fn new(context: TcContext) -> Self {
        Self(context.skb.skb)
    }

    /// The interface that the program is attached to.
    #[inline(always)]
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel's context lives as long as the program runs.
        unsafe { read_volatile(&raw const (*self.0).ifindex) }
    }

    /// Overwrites bytes. Checksums are the caller's. By value: of a constant's reference the compiler would make a map of
    /// constants.
    #[inline(always)]
    pub fn write<T: Copy>(&self, offset: usize, value: T) -> Result<(), Failed> {
        // SAFETY: `value` is readable for its size; the helper checks the offset.
        done(unsafe {
            bpf_skb_store_bytes(self.0.cast(), offset as u32, from_ref(&value).cast(), size_of::<T>() as u32, 0)
        })
    }

    /// Cuts the packet off at this length.
    #[inline(always)]
    pub fn cut(&self, length: usize) -> Result<(), Failed> {
        // SAFETY: plain numbers.
        done(unsafe { bpf_skb_change_tail(self.0, length as u32, 0) })
    }

    /// Corrects the IPv4 checksum at `offset` for two bytes that change.
    #[inline(always)]
    pub fn replace_in_ip_sum(&self, offset: usize, from: u16, to: u16) -> Result<(), Failed> {
        // SAFETY: plain numbers.
        done(unsafe { bpf_l3_csum_replace(self.0.cast(), offset as u32, from.into(), to.into(), 2) })
    }

    /// Adds to the sum that the transport checksum at `offset` stands for. The kernel knows whether the checksum is whole
    /// or is left to the hardware, which then adds all but the pseudo-header.
    #[inline(always)]
    pub fn add_to_sum(&self, offset: usize, sum: u32, flags: u64) -> Result<(), Failed> {
        // SAFETY: plain numbers.
        done(unsafe { bpf_l4_csum_replace(self.0.cast(), offset as u32, 0, sum.into(), flags) })
    }

    /// Sends the packet back, as if the pod had sent it. The program's verdict.
    #[inline(always)]
    pub fn turn_back(&self) -> i32 {
        // SAFETY: plain numbers.
        unsafe { bpf_redirect(self.interface(), INGRESS) as i32 }
    }

    /// Sends a copy back, as if the pod had sent it.
    #[inline(always)]
    pub fn turn_copy_back(&self) -> Result<(), Failed> {
        // SAFETY: plain numbers.
        done(unsafe { bpf_clone_redirect(self.0, self.interface(), INGRESS) })
    }

    /// The socket that a connection has in a network namespace; `None` for no socket at all. A listener stands for the
    /// connections to it that have none.
    #[inline(always)]
    pub fn socket(&self, key: &InboundKey, netns: u64) -> Option<Socket> {
        self.with_socket(key, netns, |socket| {
            // SAFETY: the socket is there until the closure ends; null for one that is not whole: a handshake's, or TIME_WAIT.
            unsafe {
                let whole = bpf_tcp_sock(socket);
                let next = if whole.is_null() { None } else { Some(read_volatile(&raw const (*whole).rcv_nxt)) };
                Socket { state: read_volatile(&raw const (*socket).state), next }
            }
        })
    }

    /// Whether the segment acknowledges a SYN cookie that the pod's listener has sent.
    #[inline(always)]
    pub fn answers_cookie(&self, segment: &Segment, key: &InboundKey, netns: u64) -> bool {
        let Some(tcp) = self.read::<TcpHdr>(segment.transport) else { return false };
        let checked = if key.backend.is_v4() {
            let Some(ip) = self.read::<Ipv4Hdr>(EthHdr::LEN) else { return false };
            self.with_socket(key, netns, |socket| check_cookie(socket, ip, tcp))
        } else {
            let Some(ip) = self.read::<Ipv6Hdr>(EthHdr::LEN) else { return false };
            self.with_socket(key, netns, |socket| check_cookie(socket, ip, tcp))
        };
        checked.unwrap_or(false)
    }

    #[inline(always)]
    fn with_socket<T>(&self, key: &InboundKey, netns: u64, look: impl FnOnce(*mut bpf_sock) -> T) -> Option<T> {
        let (client, backend) = (key.client.words(), key.backend.words());
        let ports = u32::from(key.client_port.network()) | u32::from(key.backend_port.network()) << 16;
        let mut words = [0_u32; 9];
        let size = if key.backend.is_v4() {
            (words[0], words[1], words[2]) = (client[3], backend[3], ports);
            3 * 4
        } else {
            words[..4].copy_from_slice(&client);
            words[4..8].copy_from_slice(&backend);
            words[8] = ports;
            9 * 4
        };
        // SAFETY: the tuple is readable for its size, and the kernel's reference is given back.
        unsafe {
            let tuple = (&raw mut words).cast::<bpf_sock_tuple>();
            let socket = bpf_skc_lookup_tcp(self.0.cast(), tuple, size, netns, 0);
            if socket.is_null() {
                return None;
            }
            let found = look(socket);
            bpf_sk_release(socket.cast());
            Some(found)
        }
    }
}

/// Whether a listener takes the headers for the end of a handshake that it has no record of.
#[inline(always)]
fn check_cookie<T>(socket: *mut bpf_sock, mut ip: Word<T>, mut tcp: Word<TcpHdr>) -> bool {
    let (ip, tcp) = ((&raw mut ip.0).cast(), (&raw mut tcp.0).cast());
    // SAFETY: both headers are readable for their sizes; the socket is there.
    unsafe { bpf_tcp_check_syncookie(socket.cast(), ip, size_of::<T>() as u32, tcp, TcpHdr::LEN as u32) == 0 }
}

/// What the kernel knows of a connection.
pub struct Socket {
    /// Its state (include/net/tcp_states.h).
    pub state: u32,
    /// The sequence number that it waits for, host order; `None` for one that is not whole.
    pub next: Option<u32>,
}

impl Bytes for SocketBuffer {
    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the kernel's context lives as long as the program runs.
        unsafe { read_volatile(&raw const (*self.0).len) as usize }
    }

    #[inline(always)]
    fn is_segmented(&self) -> bool {
        // SAFETY: as above.
        unsafe { read_volatile(&raw const (*self.0).gso_segs) != 0 }
    }

    #[inline(always)]
    fn read<T: Header>(&self, offset: usize) -> Option<Word<T>> {
        // SAFETY: the kernel's context lives as long as the program runs.
        let (start, end) = unsafe {
            (read_volatile(&raw const (*self.0).data) as usize, read_volatile(&raw const (*self.0).data_end) as usize)
        };
        if offset <= NEAR && start + offset + size_of::<T>() <= end {
            // SAFETY: within what lies in one piece, as just checked; any bytes are a `T`.
            return Some(Word(unsafe { ((start + offset) as *const T).read_unaligned() }));
        }
        let mut header = MaybeUninit::<Word<T>>::uninit();
        // SAFETY: the helper writes the whole of `T`, of which any bytes are a value, or fails.
        unsafe {
            let to = header.as_mut_ptr().cast();
            (bpf_skb_load_bytes(self.0.cast(), offset as u32, to, size_of::<T>() as u32) == 0)
                .then(|| header.assume_init())
        }
    }
}

/// The one's complement sum of words as they lie in memory.
#[inline(always)]
pub fn sum<const N: usize>(words: &mut [u32; N], seed: u32) -> u32 {
    // SAFETY: `words` is readable for its size.
    unsafe {
        bpf_csum_diff(core::ptr::null_mut(), 0, words.as_mut_ptr(), size_of::<[u32; N]>() as u32, seed).cast_unsigned()
            as u32
    }
}

/// Whether a segment is of IPv4.
pub const fn is_v4(segment: &Segment) -> bool {
    matches!(segment.family, mesh_common::packet::Family::V4)
}
