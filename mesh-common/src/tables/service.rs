//! A Service port of one family: where its slots lie, by what rule one is picked, and what is open.

use crate::atomic::Atomic64;
use crate::select::{Algorithm, HashBy};

/// Index into `SERVICES`. 0 is never given out, so that a zeroed word is no Service.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ServiceId(pub u32);

/// The limit that is none.
pub const UNLIMITED: u64 = u64::MAX;

/// Value of `SERVICES`: one cache line (64 bytes).
///
/// Connections are counted per Kubernetes Service, not per port: [`Rule::account`] names the entry whose `active` and
/// limits hold for all ports and families of one Service. A Service's first entry is its own account, so the common
/// Service touches one line.
#[repr(C)]
#[derive(Debug)]
pub struct Service {
    /// [`SlotRange`], packed. One store publishes a new generation. Written by: agent.
    pub slots: Atomic64,
    /// [`Rule`], packed. Written by: agent.
    pub rule: Atomic64,
    /// On an account: connections open now, over all ports. Written by: programs; agent's audit.
    pub active: Atomic64,
    /// On an account: most connections open at once; [`UNLIMITED`] for none. Written by: agent.
    pub max_connections: Atomic64,
    /// On an account: most connections open at once to each backend; [`UNLIMITED`] for none. Written by: agent.
    pub max_connections_per_backend: Atomic64,
    /// Connections admitted through this entry since it was made. Written by: programs.
    pub opened: Atomic64,
    /// Picks made, for algorithms that take turns. Written by: programs.
    pub cursor: Atomic64,
    /// `sessionAffinity`: how long a client may stay away and still keep its backend, nanoseconds; 0 for no affinity.
    /// Written by: agent.
    pub affinity_timeout: Atomic64,
}

const _: () = assert!(size_of::<Service>() == 64);

/// A range of `SLOTS`, packed into one word so that it changes in one store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SlotRange {
    /// First position.
    pub base: u32,
    /// Number of positions; 0 refuses every connection with `NoBackend`.
    pub len: u32,
}

impl SlotRange {
    /// The word for [`Service::slots`].
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.base as u64) << 32 | self.len as u64
    }

    /// From the word in [`Service::slots`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { base: (word >> 32) as u32, len: word as u32 }
    }
}

/// By what rule a slot is picked and who counts it, packed into one word so that it changes in one store.
///
/// Bits 0 to 7 are the algorithm, 8 to 15 what it hashes, 16 the flag of [`Rule::traffic`], 17 that of
/// [`Rule::outlier`], 18 that of [`Rule::fenced`], 19 that of [`Rule::nodes`], 32 to 63 the account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the word")]
pub struct Rule {
    /// The entry that counts for the whole Service.
    pub account: ServiceId,
    /// The load-balancing algorithm.
    pub algorithm: Algorithm,
    /// What Maglev hashes.
    pub hash: HashBy,
    /// Whether the account's entry of `TRAFFIC` says anything: it is not touched otherwise.
    pub traffic: bool,
    /// Whether the account's entry of `OUTLIERS` says anything: it is not touched otherwise.
    pub outlier: bool,
    /// Whether only clients of `SOURCES` may come in here.
    pub fenced: bool,
    /// Whether the account is no Service's: its addresses are the nodes', where a port that it does not list may be a
    /// `NodePort` or anything else.
    pub nodes: bool,
}

/// The bit of [`Rule::traffic`].
const TRAFFIC: u64 = 1 << 16;

/// The bit of [`Rule::outlier`].
const OUTLIER: u64 = 1 << 17;

/// The bit of [`Rule::fenced`].
const FENCED: u64 = 1 << 18;

/// The bit of [`Rule::nodes`].
const NODES: u64 = 1 << 19;

impl Rule {
    /// The rule of an account that asks for nothing.
    pub const fn plain(account: ServiceId, algorithm: Algorithm) -> Self {
        Self { account, algorithm, hash: HashBy::Client, traffic: false, outlier: false, fenced: false, nodes: false }
    }

    /// The word for [`Service::rule`].
    pub const fn pack(self) -> u64 {
        let traffic = if self.traffic { TRAFFIC } else { 0 };
        let outlier = if self.outlier { OUTLIER } else { 0 };
        let fenced = if self.fenced { FENCED } else { 0 };
        let nodes = if self.nodes { NODES } else { 0 };
        let flags = traffic | outlier | fenced | nodes;
        (self.account.0 as u64) << 32 | flags | (self.hash as u64) << 8 | self.algorithm as u64
    }

    /// From the word in [`Service::rule`]; an unknown algorithm reads as random.
    pub fn unpack(word: u64) -> Self {
        Self {
            account: Self::account_of(word),
            algorithm: Algorithm::from_number(Self::algorithm_of(word)),
            hash: HashBy::from_number((word >> 8) as u8),
            traffic: Self::has_traffic(word),
            outlier: Self::has_outlier(word),
            fenced: Self::is_fenced(word),
            nodes: Self::is_nodes(word),
        }
    }

    /// Whether the port that is dialled is hashed, too, in a packed word.
    #[inline(always)]
    pub const fn hashes_port(word: u64) -> bool {
        (word >> 8) as u8 == HashBy::ClientAndPort as u8
    }

    /// [`Rule::traffic`] in a packed word, alone.
    #[inline(always)]
    pub const fn has_traffic(word: u64) -> bool {
        word & TRAFFIC != 0
    }

    /// [`Rule::outlier`] in a packed word, alone.
    #[inline(always)]
    pub const fn has_outlier(word: u64) -> bool {
        word & OUTLIER != 0
    }

    /// [`Rule::fenced`] in a packed word, alone.
    #[inline(always)]
    pub const fn is_fenced(word: u64) -> bool {
        word & FENCED != 0
    }

    /// [`Rule::nodes`] in a packed word, alone.
    #[inline(always)]
    pub const fn is_nodes(word: u64) -> bool {
        word & NODES != 0
    }

    /// The account in a packed word, alone.
    #[inline(always)]
    pub const fn account_of(word: u64) -> ServiceId {
        ServiceId((word >> 32) as u32)
    }

    /// The algorithm's number in a packed word, alone.
    #[inline(always)]
    pub const fn algorithm_of(word: u64) -> u8 {
        word as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_words_keep_their_parts(base: u32, len: u32, account: u32) {
            let range = SlotRange { base, len };
            prop_assert_eq!(SlotRange::unpack(range.pack()), range);
            for algorithm in Algorithm::ALL {
                for (hash, traffic) in HashBy::ALL.into_iter().zip([true, false]) {
                    let (fenced, nodes, outlier) = (traffic, !traffic, !traffic);
                    let rule =
                        Rule { account: ServiceId(account), algorithm, hash, traffic, outlier, fenced, nodes };
                    prop_assert_eq!(Rule::unpack(rule.pack()), rule);
                    prop_assert_eq!(Rule::hashes_port(rule.pack()), hash == HashBy::ClientAndPort);
                }
            }
        }
    }
}
