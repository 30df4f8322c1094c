//! Which connections are looked at, and when the next look is.

use super::*;
use mesh_common::address::{Address, Port};
use mesh_common::tables::{BackendId, FrontendKey};
use std::net::Ipv4Addr;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000 * SECOND;

fn connection(service: u32, age: u64) -> Connection {
    Connection {
        frontend: FrontendKey::new(Address::from(Ipv4Addr::new(10, 96, 0, 1)), Port::from_host(80), Protocol::Tcp),
        account: ServiceId(1),
        service: ServiceId(service),
        backend: BackendId(1),
        netns: 1,
        opened_at: NOW - age * SECOND,
        flags: CONFIRMED,
        client: 0,
    }
}

fn rules(of: &[(u32, Option<u64>, Option<u64>)]) -> Rules {
    let seconds = |time: Option<u64>| time.map(Duration::from_secs);
    let rule = |&(id, idle, longest): &(u32, Option<u64>, Option<u64>)| {
        (ServiceId(id), Endings { gone: None, idle: seconds(idle), longest: seconds(longest) })
    };
    of.iter().map(rule).collect()
}

/// The cookies of what is too old, of what may be idle, and of what was active, and in how many seconds the next look is.
fn sorted(connections: &[Connection], rules: &Rules, active: &Active) -> (Vec<u64>, Vec<u64>, Vec<u64>, f64) {
    let entries = connections.iter().enumerate().map(|(cookie, connection)| (cookie as u64, *connection));
    let round = Round::sort(entries, rules, active, NOW);
    let old = round.old.iter().map(|(cookie, _)| *cookie).collect();
    let suspects = round.suspects.iter().map(|(cookie, ..)| *cookie).collect();
    let mut known: Vec<u64> = round.look.active.keys().copied().collect();
    known.sort_unstable();
    let look = round.finish(rules, NOW, Duration::ZERO);
    (old, suspects, known, Duration::from_nanos(look.next - NOW).as_secs_f64())
}

#[test]
fn only_what_may_be_due_is_asked_about_and_only_of_services_that_ask_for_it() {
    let rules = rules(&[(1, Some(60), None), (2, None, Some(100))]);
    let udp = FrontendKey::new(Address::from(Ipv4Addr::new(10, 96, 0, 1)), Port::from_host(80), Protocol::Udp);
    let connections = [
        connection(1, 30),
        connection(1, 90),
        connection(2, 99),
        connection(2, 101),
        connection(3, 900),
        Connection { frontend: udp, ..connection(1, 900) },
        Connection { flags: 0, ..connection(1, 900) },
    ];
    let (old, suspects, known, next) = sorted(&connections, &rules, &Active::new());
    assert_eq!((old, suspects, known), (vec![3], vec![1], vec![0]));
    // The one of 99 seconds is due in one, but the pause is a tenth of the shortest time.
    assert!((next - 5.0).abs() < 0.1, "{next}");
}

#[test]
fn data_that_was_seen_puts_off_the_next_question() {
    let rules = rules(&[(1, Some(60), None)]);
    let one = connection(1, 500);
    let opened = after(one.opened_at, TICK);
    let active = Active::from([(0, (opened, NOW - 20 * SECOND))]);
    let (_, suspects, known, next) = sorted(&[one], &rules, &active);
    assert_eq!((suspects, known), (vec![], vec![0]));
    assert!((next - 40.0).abs() < 0.1, "{next}");
    // Another connection of the same socket.
    let active = Active::from([(0, (opened - SECOND, NOW - 20 * SECOND))]);
    assert_eq!(sorted(&[one], &rules, &active).1, [0]);
}

#[test]
fn what_is_opened_after_a_look_is_met_in_time_and_looks_are_bounded() {
    let (.., next) = sorted(&[], &rules(&[(1, Some(3_600), Some(7_200)), (2, None, Some(30))]), &Active::new());
    assert!((next - 30.0).abs() < 0.1, "{next}");
    let rules = rules(&[(1, Some(1), None)]);
    let look = |took| {
        Round::sort(std::iter::once((0, connection(1, 0))), &rules, &Active::new(), NOW).finish(&rules, NOW, took)
    };
    assert!(look(Duration::ZERO).next >= NOW + SECOND);
    let seconds = Duration::from_secs(2);
    assert!(look(seconds).next >= NOW + 40 * SECOND, "a twentieth of one processor at most");
}
