//! Turning a decision into what the hook returns.

use crate::context::SockAddr;
use aya_ebpf::helpers::generated::bpf_set_retval;
use mesh_common::address::{Address, Port};

/// What becomes of a connect() or a datagram.
#[must_use = "a verdict that nobody acts on lets the connection pass"]
pub enum Verdict {
    /// Not ours: untouched.
    Pass,
    /// To this backend.
    Forward(Address, Port),
    /// Refused, at once; the cause is counted where it was found.
    Refuse,
}

const PROCEED: i32 = 1;
const REJECT: i32 = 0;
const ECONNREFUSED: i32 = 111;

/// Rewrites the destination, or refuses with ECONNREFUSED: the one errno that every client takes for "not now, not
/// here" (EAGAIN makes asyncio believe that it is connected; 0 alone would read as EPERM).
#[inline(always)]
#[expect(clippy::needless_pass_by_value, reason = "a verdict is acted on once")]
pub fn act<const V6: bool>(socket: &SockAddr<V6>, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => PROCEED,
        Verdict::Forward(address, port) => {
            socket.set(&address, port);
            PROCEED
        }
        Verdict::Refuse => {
            // SAFETY: a helper without pointers.
            unsafe { bpf_set_retval(-ECONNREFUSED) };
            REJECT
        }
    }
}

/// Shows the frontend in place of the backend, where the socket speaks through one. Never refuses: the kernel does not
/// let these hooks.
#[inline(always)]
pub fn show<const V6: bool>(socket: &SockAddr<V6>, frontend: Option<(Address, Port)>) -> i32 {
    if let Some((address, port)) = frontend {
        socket.set(&address, port);
    }
    PROCEED
}
