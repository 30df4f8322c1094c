//! sock_diag(7) in the calling thread's network namespace: sockets listed, looked at and destroyed.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::constants::AF_INET;
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_packet_sock_diag::{SOCK_DESTROY, SockDiagMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
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

    fn new(response: InetResponse) -> Self {
        let times = response.nlas.iter().find_map(|nla| match nla {
            Nla::TcpInfo(info) => idle(info),
            _ => None,
        });
        Self { id: response.header.socket_id, state: response.header.state, idle: times }
    }
}

/// The shorter of the times since data was sent and received last, of a `struct tcp_info`.
fn idle(info: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let sent = word(offset_of!(libc::tcp_info, tcpi_last_data_sent))?;
    let received = word(offset_of!(libc::tcp_info, tcpi_last_data_recv))?;
    Some(sent.min(received))
}

/// A netlink socket in a namespace.
pub struct Diag(Socket);

impl Diag {
    /// Opens one in the namespace of the calling thread; it stays there.
    pub fn open() -> io::Result<Self> {
        let mut netlink = Socket::new(NETLINK_SOCK_DIAG)?;
        netlink.bind_auto()?;
        netlink.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(netlink))
    }

    /// All sockets of a table, with how long they were idle where that is asked for.
    pub fn list(&self, table: Table, with_times: bool) -> io::Result<Vec<Shown>> {
        let any = if table.family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        self.send(request(table, any, with_times), None, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut sockets = Vec::new();
        loop {
            let (buffer, _) = self.0.recv_from_full()?;
            for message in messages(&buffer) {
                match message?.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        sockets.push(Shown::new(*response));
                    }
                    // A protocol whose diagnosis this kernel lacks (CONFIG_INET_UDP_DIAG) lists nothing.
                    NetlinkPayload::Done(_) => return Ok(sockets),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// One socket as it is now, with how long it was idle; `None` when it has ended.
    pub fn look(&self, table: Table, id: SocketId) -> io::Result<Option<Shown>> {
        self.send(request(table, id, true), None, NLM_F_REQUEST)?;
        let (buffer, _) = self.0.recv_from_full()?;
        for message in messages(&buffer) {
            match message?.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    return Ok(Some(Shown::new(*response)));
                }
                NetlinkPayload::Error(error) if is_gone(&error.to_io()) => return Ok(None),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Ends one socket; `false` when it ended by itself meanwhile.
    pub fn destroy(&self, table: Table, id: SocketId) -> io::Result<bool> {
        self.send(request(table, id, false), Some(SOCK_DESTROY), NLM_F_REQUEST | NLM_F_ACK)?;
        let (buffer, _) = self.0.recv_from_full()?;
        for message in messages(&buffer) {
            if let NetlinkPayload::Error(error) = message?.payload {
                return match error.code {
                    None => Ok(true),
                    Some(_) if is_gone(&error.to_io()) => Ok(false),
                    Some(_) => Err(error.to_io()),
                };
            }
        }
        Ok(true)
    }

    fn send(&self, message: SockDiagMessage, as_type: Option<u16>, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut packet = NetlinkMessage::new(header, message.into());
        packet.finalize();
        if let Some(message_type) = as_type {
            packet.header.message_type = message_type;
        }
        let mut buffer = vec![0; packet.header.length as usize];
        packet.serialize(&mut buffer);
        self.0.send(&buffer, 0).map(drop)
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

/// The messages of one datagram.
fn messages(buffer: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<SockDiagMessage>>> + '_ {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = match NetlinkMessage::<SockDiagMessage>::deserialize(rest) {
            Ok(message) => message,
            Err(error) => {
                rest = &[];
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())));
            }
        };
        let length = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
        rest = &rest[length..];
        Some(Ok(message))
    })
}
