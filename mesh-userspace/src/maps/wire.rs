//! Keys and values of the hashes as the bytes that the kernel copies.

use mesh_common::address::{Address, Port};
use mesh_common::tables::{BackendId, Connection, FrontendKey, ServiceId};

/// Bytes of a [`FrontendKey`].
pub const FRONTEND: usize = size_of::<FrontendKey>();
/// Bytes of an [`Address`].
pub const ADDRESS: usize = size_of::<Address>();
/// Bytes of a [`ServiceId`].
pub const SERVICE_ID: usize = size_of::<ServiceId>();
/// Bytes of a socket cookie.
pub const COOKIE: usize = size_of::<u64>();
/// Bytes of a [`Connection`].
pub const CONNECTION: usize = size_of::<Connection>();

/// The key's bytes.
pub fn frontend(key: &FrontendKey) -> [u8; FRONTEND] {
    let mut bytes = [0; FRONTEND];
    bytes[..16].copy_from_slice(&key.address.0);
    bytes[16..18].copy_from_slice(&key.port.network().to_ne_bytes());
    bytes[18] = key.protocol;
    bytes[19] = key.at;
    bytes
}

/// The key in bytes of its size.
pub fn read_frontend(bytes: &[u8]) -> FrontendKey {
    FrontendKey {
        address: Address(part(bytes, 0)),
        port: Port::from_network(u16::from_ne_bytes(part(bytes, 16))),
        protocol: bytes[18],
        at: bytes[19],
    }
}

/// The id in bytes of its size.
pub fn read_service_id(bytes: &[u8]) -> ServiceId {
    ServiceId(u32::from_ne_bytes(part(bytes, 0)))
}

/// The address in bytes of its size.
pub fn read_address(bytes: &[u8]) -> Address {
    Address(part(bytes, 0))
}

/// The cookie in bytes of its size.
pub fn read_cookie(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(part(bytes, 0))
}

/// The connection's bytes.
pub fn connection(connection: &Connection) -> [u8; CONNECTION] {
    let mut bytes = [0; CONNECTION];
    bytes[..20].copy_from_slice(&frontend(&connection.frontend));
    bytes[20..24].copy_from_slice(&connection.account.0.to_ne_bytes());
    bytes[24..28].copy_from_slice(&connection.service.0.to_ne_bytes());
    bytes[28..32].copy_from_slice(&connection.backend.0.to_ne_bytes());
    bytes[32..40].copy_from_slice(&connection.netns.to_ne_bytes());
    bytes[40..48].copy_from_slice(&connection.opened_at.to_ne_bytes());
    bytes[48..52].copy_from_slice(&connection.flags.to_ne_bytes());
    bytes[52..56].copy_from_slice(&connection.client.to_ne_bytes());
    bytes
}

/// The connection in bytes of its size.
pub fn read_connection(bytes: &[u8]) -> Connection {
    let word = |at| u64::from_ne_bytes(part(bytes, at));
    Connection {
        frontend: read_frontend(&bytes[..20]),
        account: read_service_id(&bytes[20..24]),
        service: read_service_id(&bytes[24..28]),
        backend: BackendId(u32::from_ne_bytes(part(bytes, 28))),
        netns: word(32),
        opened_at: word(40),
        flags: u32::from_ne_bytes(part(bytes, 48)),
        client: u32::from_ne_bytes(part(bytes, 52)),
    }
}

/// `N` bytes from `at` on; the callers' slices have the sizes above.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_common::address::Protocol;
    use proptest::prelude::*;
    use std::mem::offset_of;

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 16], port: u16, ids: [u32; 5], words: [u64; 2]) {
            let key = FrontendKey::new(Address(bytes), Port::from_host(port), Protocol::Udp);
            prop_assert_eq!(read_frontend(&frontend(&key)), key);
            let value = Connection {
                frontend: key,
                account: ServiceId(ids[0]),
                service: ServiceId(ids[1]),
                backend: BackendId(ids[2]),
                netns: words[0],
                opened_at: words[1],
                flags: ids[3],
                client: ids[4],
            };
            prop_assert_eq!(read_connection(&connection(&value)), value);
        }
    }

    #[test]
    fn offsets_are_those_of_the_tables() {
        assert_eq!(offset_of!(FrontendKey, port), 16);
        assert_eq!(offset_of!(FrontendKey, protocol), 18);
        assert_eq!(offset_of!(Connection, account), 20);
        assert_eq!(offset_of!(Connection, service), 24);
        assert_eq!(offset_of!(Connection, backend), 28);
        assert_eq!(offset_of!(Connection, netns), 32);
        assert_eq!(offset_of!(Connection, opened_at), 40);
        assert_eq!(offset_of!(Connection, flags), 48);
        assert_eq!(offset_of!(Connection, client), 52);
    }
}
