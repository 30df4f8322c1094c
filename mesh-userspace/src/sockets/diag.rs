//! sock_diag(7) in the calling thread's network namespace: sockets listed, looked at and destroyed.

use crate::netlink::Netlink;
use netlink_packet_sock_diag::constants::AF_INET;
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SOCK_DESTROY, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::io;
use std::mem::offset_of;

/// Which sockets: a family and a protocol, by the kernel's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u8,
}

/// A socket as the kernel shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its id, to name it by.
    pub id: SocketId,
    /// Its state (`TCP_ESTABLISHED`...).
    pub state: u8,
    /// For how long nothing was sent or received, milliseconds; `None` where it was not asked for, or is not known.
    pub idle: Option<u32>,
}

impl Shown {
    /// Its cookie.
    pub fn cookie(&self) -> u64 {
        u64::from_ne_bytes(self.id.cookie)
    }

    fn new(answer: SockDiagMessage) -> Option<Self> {
        let SockDiagMessage::InetResponse(response) = answer else { return None };
        let times = response.nlas.iter().find_map(|nla| match nla {
            Nla::TcpInfo(info) => idle(info),
            _ => None,
        });
        Some(Self { id: response.header.socket_id, state: response.header.state, idle: times })
    }
}

/// The shorter of the times since data was sent and received last, of a `struct tcp_info`.
fn idle(info: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let sent = word(offset_of!(libc::tcp_info, tcpi_last_data_sent))?;
    let received = word(offset_of!(libc::tcp_info, tcpi_last_data_recv))?;
    Some(sent.min(received))
}

/// sock_diag in a namespace.
pub struct Diag(Netlink<SockDiagMessage>);

impl Diag {
    /// Opens it in the namespace of the calling thread; it stays there.
    pub fn open() -> io::Result<Self> {
        Netlink::open(NETLINK_SOCK_DIAG).map(Self)
    }

    /// All sockets of a table, with how long they were idle where that is asked for.
    pub fn list(&self, table: Table, with_times: bool) -> io::Result<Vec<Shown>> {
        let any = if table.family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        let mut sockets = Vec::new();
        match self.0.list(request(table, any, with_times), |answer| sockets.extend(Shown::new(answer))) {
            // A protocol whose diagnosis this kernel lacks (CONFIG_INET_UDP_DIAG) lists nothing.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
            listed => listed.map(|()| sockets),
        }
    }

    /// One socket as it is now, with how long it was idle; `None` when it has ended.
    pub fn look(&self, table: Table, id: SocketId) -> io::Result<Option<Shown>> {
        let mut shown = None;
        match self.0.get(request(table, id, true), |answer| shown = Shown::new(answer)) {
            Err(error) if is_gone(&error) => Ok(None),
            asked => asked.map(|()| shown),
        }
    }

    /// Ends one socket; `false` when it ended by itself meanwhile.
    pub fn destroy(&self, table: Table, id: SocketId) -> io::Result<bool> {
        match self.0.change_as(SOCK_DESTROY, request(table, id, false)) {
            Err(error) if is_gone(&error) => Ok(false),
            ended => ended.map(|()| true),
        }
    }
}

/// The socket of this id is no more, or another has its addresses.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

fn request(table: Table, socket_id: SocketId, with_times: bool) -> SockDiagMessage {
    let extensions = if with_times { ExtensionFlags::INFO } else { ExtensionFlags::empty() };
    let Table { family, protocol } = table;
    SockDiagMessage::InetRequest(InetRequest { family, protocol, extensions, states: StateFlags::all(), socket_id })
}
