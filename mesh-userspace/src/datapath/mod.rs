//! The programs and maps in the kernel: loading, pinning, attaching, and taking them away. Knows nothing of Kubernetes.

mod attach;
mod cgroup;
mod error;
mod former;
mod hooks;
mod interfaces;
mod load;
mod pins;
mod shape;
mod unload;

pub use attach::{Attached, attach, attached};
pub use cgroup::{Cgroup, find as find_cgroup};
pub use error::Error;
pub use former::retire as retire_former;
pub use hooks::{HOOKS, Hook, PACKET_HOOKS, PacketHook, RECOUNT};
pub use interfaces::{InterfacePrograms, TcAttach};
pub use load::{Loaded, Sizes, load};
pub use pins::{Lock, Pins};
pub use unload::unload;

/// The programs, as built from `mesh-ebpf` and committed: see `cargo xtask build-ebpf`.
pub static PROGRAMS: &[u8] = aya::include_bytes_aligned!("../../programs/mesh.bpf.o");
