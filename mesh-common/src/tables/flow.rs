//! Where the datagrams of UDP sockets that are not connected go, and what their replies must look like.

use crate::address::{Address, Port};
use crate::tables::{BackendId, ServiceId};

/// Key of `FLOWS`: one socket speaking to one frontend. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// Socket cookie.
    pub cookie: u64,
    /// The frontend's Service.
    pub service: ServiceId,
    /// Zero.
    pub _pad: u32,
}

/// Value of `FLOWS`. 24 bytes. Address and port are repeated so that a reused id is noticed; the Service is compared by its
/// account.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// The backend's address when the flow began.
    pub address: Address,
    /// The backend.
    pub backend: BackendId,
    /// The backend's port when the flow began.
    pub port: Port,
    /// Zero.
    pub _pad: u16,
}

/// Key of `REPLIES`: one socket hearing from one backend. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReplyKey {
    /// Socket cookie.
    pub cookie: u64,
    /// The backend's address.
    pub address: Address,
    /// The backend's port.
    pub port: Port,
    /// Zero.
    pub _pad: [u16; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 16 && size_of::<Flow>() == 24 && size_of::<ReplyKey>() == 32);
