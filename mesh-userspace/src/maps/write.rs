//! Steps that store to arrays, word by word.

use super::arrays::BackendCell;
use super::{Arrays, MapError};
use crate::plan::applied::FilterBits;
use crate::plan::{BackendKey, MapOp};
use mesh_common::outlier;
use mesh_common::select::Algorithm;
use mesh_common::tables::{
    BackendId, BackendState, BackendTag, FilterBit, Rule, Service, ServiceId, SlotRange, UNLIMITED,
};

/// Does a step. Steps on hashes are not for this function.
pub fn to_arrays(arrays: &Arrays<'_>, op: &MapOp) -> Result<(), MapError> {
    match *op {
        MapOp::OpenAccount { id, nodes, max_connections, max_connections_per_backend, .. } => {
            clear(arrays, id)?;
            let entry = service(arrays, id)?;
            entry.max_connections.store(max_connections);
            entry.max_connections_per_backend.store(max_connections_per_backend);
            entry.rule.store(Rule { nodes, ..Rule::plain(id, Algorithm::default()) }.pack());
        }
        MapOp::SetMaxConnections { account, limit } => service(arrays, account)?.max_connections.store(limit),
        MapOp::SetMaxConnectionsPerBackend { account, limit } => {
            service(arrays, account)?.max_connections_per_backend.store(limit);
        }
        MapOp::SetTraffic { account, ref traffic } => {
            let out_of_range = MapError::OutOfRange { map: "TRAFFIC", index: u64::from(account.0) };
            arrays.traffic(account).ok_or(out_of_range)?.store(traffic);
        }
        MapOp::SetOutlier { account, ref outlier } => {
            let out_of_range = MapError::OutOfRange { map: "OUTLIERS", index: u64::from(account.0) };
            let entry = arrays.outlier(account).ok_or(out_of_range)?;
            if outlier.thresholds.slow.percent != 0 {
                // What answers are usual is learnt anew.
                let out_of_range = MapError::OutOfRange { map: "TRAFFIC", index: u64::from(account.0) };
                arrays.traffic(account).ok_or(out_of_range)?.answer.store(0);
            }
            entry.store(outlier);
        }
        MapOp::CreateBackend { id, ref key, account, weight } => {
            let entry = backend(arrays, id)?;
            entry.set_address(&key.address);
            entry.active.store(0); // a free entry counts nothing
            entry.standing.store(0);
            entry.answer.store(0);
            entry.weight.store(weight.into());
            entry.since.store(monotonic());
            entry.tag.store(tag(key, BackendState::Serving, account));
        }
        MapOp::ReviveBackend { id, ref key, account, weight } => {
            let entry = backend(arrays, id)?;
            entry.answer.store(0);
            entry.weight.store(weight.into());
            entry.since.store(monotonic());
            entry.tag.store(tag(key, BackendState::Serving, account));
        }
        MapOp::SetWeight { id, weight, .. } => backend(arrays, id)?.weight.store(weight.into()),
        MapOp::MarkGone { id, ref key, account } => {
            let entry = backend(arrays, id)?;
            // Who finds it gone finds when, also an agent that takes over between the two.
            entry.since.store(monotonic());
            entry.tag.store(tag(key, BackendState::Gone, account));
            pardon(arrays, entry, account);
        }
        MapOp::RetireBackend { id } => {
            let entry = backend(arrays, id)?;
            // A connection that failed while it was marked gone may have ejected it since.
            pardon(arrays, entry, BackendTag::account_of(entry.tag.load()));
            entry.standing.store(0);
            entry.tag.store(0);
        }
        MapOp::WriteSlots { base, ref backends } | MapOp::RewriteSlots { base, ref backends, .. } => {
            let range = base as usize..base as usize + backends.len();
            let out_of_range = MapError::OutOfRange { map: "SLOTS", index: range.end as u64 };
            let cells = arrays.slots.get(range).ok_or(out_of_range)?;
            for (cell, id) in cells.iter().zip(backends) {
                cell.store(*id);
            }
        }
        MapOp::OpenPort { id, rule, affinity_timeout, .. } => {
            if id != rule.account {
                clear(arrays, id)?;
            }
            let entry = service(arrays, id)?;
            entry.affinity_timeout.store(affinity_timeout);
            entry.rule.store(rule.pack());
        }
        MapOp::SetRule { id, rule } => service(arrays, id)?.rule.store(rule.pack()),
        MapOp::SetAffinityTimeout { id, timeout } => service(arrays, id)?.affinity_timeout.store(timeout),
        MapOp::Publish { id, range, .. } => service(arrays, id)?.slots.store(range.pack()),
        MapOp::ClosePort { id } => service(arrays, id)?.slots.store(SlotRange::default().pack()),
        MapOp::RetireService { id } => clear(arrays, id)?,
        MapOp::SetFilter { ref address } => {
            let bit = FilterBit::of(address);
            let word = filter(arrays, bit)?;
            word.store(word.load() | bit.mask);
        }
        MapOp::ClearFilter { bit } => {
            let bit = FilterBits::bit(bit);
            let word = filter(arrays, bit)?;
            word.store(word.load() & !bit.mask);
        }
        MapOp::InsertFrontend { .. }
        | MapOp::InsertAddress { .. }
        | MapOp::DeleteFrontend { .. }
        | MapOp::DeleteAddress { .. } => unreachable!("a step on a hash"),
    }
    Ok(())
}

/// Makes an entry that nothing refers to as good as new.
fn clear(arrays: &Arrays<'_>, id: ServiceId) -> Result<(), MapError> {
    let entry = service(arrays, id)?;
    for word in [&entry.slots, &entry.rule, &entry.active, &entry.opened, &entry.cursor, &entry.affinity_timeout] {
        word.store(0);
    }
    entry.max_connections.store(UNLIMITED);
    entry.max_connections_per_backend.store(UNLIMITED);
    let out_of_range = MapError::OutOfRange { map: "OUTLIERS", index: u64::from(id.0) };
    arrays.outlier(id).ok_or(out_of_range)?.clear();
    let out_of_range = MapError::OutOfRange { map: "REASON_COUNTS", index: u64::from(id.0) };
    for count in arrays.reasons(id).ok_or(out_of_range)? {
        if count.load() != 0 {
            count.store(0);
        }
    }
    Ok(())
}

/// A backend that takes nothing anyway is not counted as ejected.
fn pardon(arrays: &Arrays<'_>, entry: &BackendCell, account: ServiceId) {
    if let Some(outlier) = arrays.outlier(account) {
        outlier::pardon(&entry.standing, outlier);
    }
}

/// The programs' clock.
fn monotonic() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

fn tag(key: &BackendKey, state: BackendState, account: ServiceId) -> u64 {
    BackendTag { port: key.port, protocol: key.protocol, state, account }.pack()
}

fn service<'a>(arrays: &Arrays<'a>, id: ServiceId) -> Result<&'a Service, MapError> {
    arrays.service(id).ok_or(MapError::OutOfRange { map: "SERVICES", index: u64::from(id.0) })
}

fn backend<'a>(arrays: &Arrays<'a>, id: BackendId) -> Result<&'a BackendCell, MapError> {
    arrays.backend(id).ok_or(MapError::OutOfRange { map: "BACKENDS", index: u64::from(id.0) })
}

fn filter<'a>(arrays: &Arrays<'a>, bit: FilterBit) -> Result<&'a mesh_common::atomic::Atomic64, MapError> {
    arrays.filter_word(bit.word).ok_or(MapError::OutOfRange { map: "FILTER", index: u64::from(bit.word) })
}
