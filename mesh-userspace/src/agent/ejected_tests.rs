//! Which backends are asked, when, and what an answer does.

use super::*;
use crate::maps::{Maps, MemoryMaps};
use crate::plan::Sizes;
use crate::plan::applied::AppliedBackend;
use mesh_common::address::{Port, Protocol};
use mesh_common::tables::{OutlierRule, Thresholds};
use std::net::Ipv4Addr;

const SECOND: Duration = Duration::from_secs(1);

/// An account whose backends 1 to so many were ejected after three connects that failed, until a minute of the clock.
fn ejected(count: u32) -> (MemoryMaps, Account) {
    let maps = MemoryMaps::new(Sizes { services: 4, backends: 256, ..Sizes::default() });
    let mut account = Account::new(ServiceId(1), None);
    let thresholds = Thresholds { connects: 3, resets: 3, ..Thresholds::default() };
    account.outlier = OutlierRule { thresholds, ..OutlierRule::default() };
    for id in 1..=count {
        let address = Ipv4Addr::new(10, 0, 0, id as u8).into();
        let key = BackendKey { address, port: Port::from_host(80), protocol: Protocol::Tcp };
        account.backends.insert(key, AppliedBackend { id: BackendId(id), weight: 1, ends: None });
        stand(&maps, id, Standing { connects: 3, until: 60_000, out: true, ..Standing::default() });
    }
    maps.arrays().outlier(ServiceId(1)).unwrap().ejected.store(count.into());
    (maps, account)
}

fn stand(maps: &MemoryMaps, id: u32, standing: Standing) {
    maps.arrays().backend(BackendId(id)).unwrap().standing.store(standing.pack());
}

fn asking() -> Probes {
    let mut probes = Probes::default();
    probes.set([(ServiceId(1), Probe { interval: 2 * SECOND, timeout: SECOND })].into(), Instant::now());
    probes
}

/// The backends that are asked at a moment.
fn due(probes: &mut Probes, maps: &MemoryMaps, account: &Account, at: Instant) -> Vec<u32> {
    let due = probes.due(|_| Some(account), &maps.arrays(), (at, 1_000));
    due.into_iter().map(|(found, _)| found.id.0).collect()
}

#[test]
fn each_is_asked_once_in_an_interval_and_not_while_a_probe_is_under_way() {
    let ((maps, account), mut probes) = (ejected(2), asking());
    let start = Instant::now();
    assert_eq!(due(&mut probes, &maps, &account, start), [1, 2]);
    probes.over(BackendId(1));
    assert!(due(&mut probes, &maps, &account, start + SECOND).is_empty(), "not before the next look");
    assert_eq!(probes.look(), Some(start + 2 * SECOND));
    assert_eq!(due(&mut probes, &maps, &account, start + 2 * SECOND), [1], "the other has not answered yet");
    probes.set(Rules::new(), start);
    assert!(probes.look().is_none() && due(&mut probes, &maps, &account, start + 9 * SECOND).is_empty());
}

#[test]
fn who_is_out_for_resets_for_slow_answers_or_not_any_more_is_not_asked() {
    let ((maps, account), mut probes) = (ejected(4), asking());
    stand(&maps, 1, Standing { resets: 3, until: 60_000, out: true, ..Standing::default() });
    stand(&maps, 2, Standing { connects: 3, until: 500, out: true, ..Standing::default() });
    stand(&maps, 4, Standing { until: 60_000, out: true, ..Standing::default() });
    assert_eq!(due(&mut probes, &maps, &account, Instant::now()), [3]);
}

#[test]
fn only_so_many_are_asked_at_once_and_the_others_come_later() {
    let ((maps, account), mut probes) = (ejected(100), asking());
    let start = Instant::now();
    let first = due(&mut probes, &maps, &account, start);
    assert_eq!(first.len(), AT_ONCE);
    for id in &first {
        probes.over(BackendId(*id));
    }
    let mut met: HashSet<u32> = first.into_iter().collect();
    met.extend(due(&mut probes, &maps, &account, start + 2 * SECOND));
    assert_eq!(met.len(), 100, "nobody waits for ever");
}

#[test]
fn an_answer_ends_the_ejection_that_was_probed_and_no_later_one() {
    let (maps, account) = ejected(1);
    let (key, backend) = account.backends.first_key_value().unwrap();
    let arrays = maps.arrays();
    let word = || arrays.backend(BackendId(1)).unwrap().standing.load();
    let found = Found { account: ServiceId(1), id: backend.id, key: *key, standing: word(), answered: true };
    assert!(!bring_back(&Found { answered: false, ..found }, &arrays));
    assert!(!bring_back(&Found { standing: word() + (1 << 24), ..found }, &arrays));
    assert!(bring_back(&found, &arrays));
    assert!(!Standing::unpack(word()).out);
    assert_eq!(arrays.outlier(ServiceId(1)).unwrap().ejected.load(), 0);
    assert!(!bring_back(&found, &arrays), "it is back");
}
