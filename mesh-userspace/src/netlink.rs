//! Netlink in the calling thread's network namespace, one question after the other.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::io;
use std::marker::PhantomData;

/// A socket to one of the kernel's families, whose messages are `M`. It stays in the namespace in which it was opened.
pub struct Netlink<M>(Socket, PhantomData<M>);

/// A socket to rtnetlink(7).
pub type Rtnetlink = Netlink<RouteNetlinkMessage>;

impl Rtnetlink {
    /// Opens one.
    pub fn route() -> io::Result<Self> {
        let netlink = Self::open(NETLINK_ROUTE)?;
        // Without it the kernel ignores of which namespace addresses are asked for, and gives the node's own.
        netlink.0.set_netlink_get_strict_chk(true)?;
        Ok(netlink)
    }
}

impl<M: NetlinkSerializable + NetlinkDeserializable> Netlink<M> {
    /// Opens one, by the family's number (`NETLINK_ROUTE`).
    pub fn open(family: isize) -> io::Result<Self> {
        let mut socket = Socket::new(family)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket, PhantomData))
    }

    /// Asks for a list, and hands each element on.
    pub fn list(&self, question: M, take: impl FnMut(M)) -> io::Result<()> {
        self.exchange(wrapped(question), NLM_F_DUMP, take)
    }

    /// Asks for one thing, and hands it on.
    pub fn get(&self, question: M, take: impl FnMut(M)) -> io::Result<()> {
        self.exchange(wrapped(question), NLM_F_ACK, take)
    }

    /// Has something done, with these flags (`NLM_F_CREATE`).
    pub fn change(&self, wish: M, flags: u16) -> io::Result<()> {
        self.exchange(wrapped(wish), NLM_F_ACK | flags, |_| {})
    }

    /// The same for a type of message that `M` reads as another.
    pub fn change_as(&self, message_type: u16, wish: M) -> io::Result<()> {
        let mut message = wrapped(wish);
        message.header.message_type = message_type;
        self.exchange(message, NLM_F_ACK, |_| {})
    }

    fn exchange(&self, mut message: NetlinkMessage<M>, flags: u16, mut take: impl FnMut(M)) -> io::Result<()> {
        message.header.flags = NLM_F_REQUEST | flags;
        let mut buffer = vec![0; message.header.length as usize];
        message.serialize(&mut buffer);
        self.0.send(&buffer, 0)?;
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<M>::deserialize(rest)
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

/// With its length and type.
fn wrapped<M: NetlinkSerializable>(message: M) -> NetlinkMessage<M> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
    message.finalize();
    message
}
