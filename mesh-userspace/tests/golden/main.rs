//! Golden files: manifests in (`<name>.yaml`), the exact contents of the maps out (`<name>.maps`).
//!
//! After a change that is meant, look at the difference, then write the files anew: `UPDATE_GOLDEN=1 cargo test -p
//! mesh-userspace --test golden`.

use mesh_common::select::Algorithm;
use mesh_common::tables::{BackendTag, FILTER_WORDS, FilterBit, Rule, SlotRange, UNLIMITED};
use mesh_userspace::maps::{Maps, MemoryMaps};
use mesh_userspace::plan::Sizes;
use mesh_userspace::reconcile::Reconciler;
use mesh_userspace::source::manifests;
use mesh_userspace::state::ClusterState;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

const SIZES: Sizes = Sizes { frontends: 64, addresses: 64, services: 64, slots: 64, backends: 64 };

/// What an agent on node-1 makes of the manifests.
fn maps_of(manifest: &Path) -> (MemoryMaps, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(manifest, directory.path().join("manifest.yaml")).unwrap();
    let (changes, _) = manifests::read_once(directory.path()).unwrap();
    let mut state = ClusterState::new("node-1", 1);
    for change in changes {
        state.apply(change);
    }
    let mut reconciler = Reconciler::new(MemoryMaps::new(SIZES));
    for key in state.take_dirty() {
        let desired = state.compile(&key);
        reconciler.set(key, desired);
    }
    reconciler.first_list_done();
    reconciler.sync(Instant::now());
    assert_eq!(reconciler.pending().count(), 0);
    let findings = state.findings().iter().map(ToString::to_string).collect();
    (std::mem::replace(reconciler.maps_mut(), MemoryMaps::new(SIZES)), findings)
}

fn limit(value: u64) -> String {
    if value == UNLIMITED { "none".to_owned() } else { value.to_string() }
}

/// Every element and every entry in use, as text.
fn print(maps: &MemoryMaps, findings: &[String]) -> String {
    let mut out = String::new();
    let arrays = maps.arrays();
    let mut frontends = maps.frontends().unwrap();
    frontends.sort();
    out.push_str("FRONTENDS\n");
    for (key, id) in &frontends {
        writeln!(out, "  {key} -> service {}", id.0).unwrap();
    }
    let mut addresses = maps.addresses().unwrap();
    addresses.sort();
    out.push_str("ADDRESSES\n");
    for (address, id) in &addresses {
        let bit = FilterBit::of(address);
        let set = arrays.filter_word(bit.word).unwrap().load() & bit.mask != 0;
        writeln!(out, "  {address} -> service {}, filter bit {}", id.0, if set { "set" } else { "NOT SET" }).unwrap();
    }
    let bits: u32 = (0..FILTER_WORDS).map(|word| arrays.filter_word(word).unwrap().load().count_ones()).sum();
    writeln!(out, "FILTER\n  {bits} bits set").unwrap();
    out.push_str("SERVICES\n");
    for (id, service) in arrays.services.iter().enumerate() {
        let word = service.rule.load();
        if word == 0 {
            continue;
        }
        let rule = Rule::unpack(word);
        let range = SlotRange::unpack(service.slots.load());
        let slots: Vec<_> =
            (range.base..range.base + range.len).map(|slot| arrays.slots[slot as usize].load().0).collect();
        write!(out, "  {id}: account {}, {}, slots {slots:?}", rule.account.0, Algorithm::name(rule.algorithm))
            .unwrap();
        let affinity = service.affinity_timeout.load();
        if affinity != 0 {
            write!(out, ", affinity {:?}", Duration::from_nanos(affinity)).unwrap();
        }
        if rule.account.0 as usize == id {
            let (most, each) = (service.max_connections.load(), service.max_connections_per_backend.load());
            write!(out, ", connections {}, per backend {}", limit(most), limit(each)).unwrap();
        }
        out.push('\n');
    }
    out.push_str("BACKENDS\n");
    for (id, backend) in arrays.backends.iter().enumerate() {
        if let Some(tag) = BackendTag::unpack(backend.tag.load()) {
            let (address, port, protocol) = (backend.address(), tag.port, tag.protocol);
            writeln!(out, "  {id}: {address} port {port}/{protocol}, {:?}, account {}", tag.state, tag.account.0)
                .unwrap();
        }
    }
    out.push_str("FINDINGS\n");
    for finding in findings {
        writeln!(out, "  {finding}").unwrap();
    }
    out
}

#[test]
fn manifests_become_exactly_these_maps() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut manifests: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    manifests.sort();
    assert!(manifests.len() >= 6, "the golden manifests are not where they should be");
    let mut wrong = Vec::new();
    for manifest in manifests {
        let golden = manifest.with_extension("maps");
        let (maps, findings) = maps_of(&manifest);
        let found = print(&maps, &findings);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{} does not say what the maps hold now:\n{found}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
