//! Which backend a client keeps to: `sessionAffinity: ClientIP`.

use crate::address::{Address, Port};
use crate::tables::{BackendId, ServiceId, SlotRange};

/// Key of `AFFINITY`: one client of one Service port and family. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AffinityKey {
    /// The client: its network namespace (`SO_NETNS_COOKIE`). All clients in the host's network are one.
    pub netns: u64,
    /// The Service's entry.
    pub service: ServiceId,
    /// Zero.
    pub _pad: u32,
}

/// Value of `AFFINITY`. 40 bytes. Address and port are repeated so that a reused id is noticed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity {
    /// When the client last connected, nanoseconds of the monotonic clock, some milliseconds coarse.
    pub last_used: u64,
    /// [`Pin`], packed.
    pub pin: u64,
    /// The backend's address when it was chosen.
    pub address: Address,
    /// The backend's port when it was chosen.
    pub port: Port,
    /// Zero.
    pub _pad: [u16; 3],
}

const _: () = assert!(size_of::<AffinityKey>() == 16 && size_of::<Affinity>() == 40);

/// The backend and where it was found last, packed into one word so that it changes in one store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pin {
    /// The backend.
    pub backend: BackendId,
    /// Where in `SLOTS` it was found: looked at first.
    pub slot: u32,
}

impl Pin {
    /// The word for [`Affinity::pin`].
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.backend.0 as u64) << 32 | self.slot as u64
    }

    /// From the word in [`Affinity::pin`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { backend: BackendId((word >> 32) as u32), slot: word as u32 }
    }
}

impl Affinity {
    /// Whether a client that was last here at `last_used` has come back in time. Of two processors one may have read the
    /// clock before the other and look at what that other wrote: no time has passed then.
    #[inline(always)]
    pub const fn is_alive(last_used: u64, now: u64, timeout: u64) -> bool {
        now.saturating_sub(last_used) < timeout
    }

    /// The position of `slot` in a service's slots; `None` when it lies outside, as after a change of its endpoints.
    #[inline(always)]
    pub const fn position_in(range: SlotRange, slot: u32) -> Option<u32> {
        let position = slot.wrapping_sub(range.base);
        if position < range.len { Some(position) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_client_keeps_its_backend_until_it_was_idle_for_the_timeout(
            last_used in 0u64..1 << 60,
            timeout in 1u64..86_400_000_000_000,
            idle in 0u64..200_000_000_000_000,
        ) {
            prop_assert_eq!(Affinity::is_alive(last_used, last_used + idle, timeout), idle < timeout);
        }

        #[test]
        fn a_packed_pin_keeps_its_parts(backend: u32, slot: u32) {
            let pin = Pin { backend: BackendId(backend), slot };
            prop_assert_eq!(Pin::unpack(pin.pack()), pin);
        }

        #[test]
        fn a_slot_is_found_in_its_range_and_nowhere_else(base: u32, len in 0u32..1 << 20, slot: u32) {
            let range = SlotRange { base, len };
            match Affinity::position_in(range, slot) {
                Some(position) => {
                    prop_assert!(position < len);
                    prop_assert_eq!(base.wrapping_add(position), slot);
                }
                None => prop_assert!(slot.wrapping_sub(base) >= len),
            }
        }
    }

    #[test]
    fn a_clock_that_another_processor_read_later_is_not_idleness() {
        assert!(Affinity::is_alive(1_000, 999, 1));
        assert!(!Affinity::is_alive(0, 5, 0), "no timeout, no affinity");
    }
}
