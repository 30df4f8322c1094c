//! What is asked of the kernel's rtnetlink and done through it, in the calling thread's network namespace, one thing after the other.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::io;

/// A socket to it.
pub struct Netlink(Socket);

impl Netlink {
    /// Opens one.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Without it the kernel ignores of which namespace addresses are asked for, and gives the node's own.
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self(socket))
    }

    /// Asks for a list, and hands each element on.
    pub fn list(&self, question: RouteNetlinkMessage, take: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        self.exchange(question, NLM_F_DUMP, take)
    }

    /// Has something done, with these flags (`NLM_F_CREATE`).
    pub fn change(&self, wish: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(wish, NLM_F_ACK | flags, |_| {})
    }

    fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut take: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut buffer = vec![0; message.header.length as usize];
        message.serialize(&mut buffer);
        self.0.send(&buffer, 0)?;
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => take(answer),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    // Without a code it says that all is done.
                    NetlinkPayload::Error(error) => {
                        return if error.code.is_some() { Err(error.to_io()) } else { Ok(()) };
                    }
                    _ => {}
                }
                let length = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
                rest = &rest[length..];
            }
        }
    }
}
