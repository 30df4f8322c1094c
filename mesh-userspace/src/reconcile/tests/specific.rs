//! Cases that have a story.

use super::convergence::ROOMY;
use super::small::{Agent, agent, close, connect, frontend, grace, id, key, port, put, service, simple};
use super::world::{cluster_ip, name};
use crate::agent::monotonic;
use crate::maps::{Maps, MemoryMaps};
use crate::plan::{DesiredService, MapOp, Subject, diff};
use crate::reconcile::{Ending, Reconciler, State};
use mesh_common::tables::{BackendId, BackendState, CONFIRMED};
use std::time::{Duration, Instant};

#[test]
fn a_new_service_is_built_before_anyone_is_led_to_it() {
    let mut desired = simple(0, &[1, 2]);
    desired.max_connections = 5;
    let agent = agent(ROOMY);
    let ops = diff(&Subject::Service(name(0)), Some(&desired), agent.applied()).ops;
    let words: Vec<String> = ops.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "SERVICES[1]: account of shop/service-0, connections at once: 5, to each backend: no limit",
            "BACKENDS[1]: 10.244.0.1:8080/TCP of account 1, new",
            "BACKENDS[2]: 10.244.0.2:8080/TCP of account 1, new",
            "SLOTS[0..2]: backends 1, 2",
            "SERVICES[1]: port 10.96.0.1:80/TCP of account 1, Random",
            "SERVICES[1]: 2 slots from 0 in force",
            "FILTER: 10.96.0.1 passes",
            "FRONTENDS: 10.96.0.1:80/TCP leads to SERVICES[1]",
            "ADDRESSES: 10.96.0.1 belongs to account 1",
        ]
    );
    assert!(ops.is_sorted_by_key(MapOp::phase));
}

#[test]
fn an_endpoint_that_goes_is_marked_only_when_no_slot_in_force_names_it() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1, 2])));
    let words = |desired: Option<DesiredService>, agent: &Agent| -> Vec<String> {
        let ops = diff(&Subject::Service(name(0)), desired.as_ref(), agent.applied()).ops;
        ops.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        words(Some(simple(0, &[2, 3])), &agent),
        [
            "BACKENDS[3]: 10.244.0.3:8080/TCP of account 1, new",
            "SLOTS[2..4]: backends 2, 3",
            "SERVICES[1]: 2 slots from 2 in force",
            "BACKENDS[1]: 10.244.0.1:8080/TCP is gone",
        ]
    );
    assert_eq!(
        words(None, &agent),
        [
            "FRONTENDS: 10.96.0.1:80/TCP goes",
            "ADDRESSES: 10.96.0.1 goes",
            "SERVICES[1]: port closed",
            "BACKENDS[1]: 10.244.0.1:8080/TCP is gone",
            "BACKENDS[2]: 10.244.0.2:8080/TCP is gone",
        ]
    );
    // Its last slot is in a port that closes: it goes after the port, which goes after what leads to it.
    let two = service(0, vec![port(0, 80, &[1]), port(0, 81, &[2])]);
    put(&mut agent, 0, Some(two));
    assert_eq!(
        words(Some(simple(0, &[1])), &agent),
        ["FRONTENDS: 10.96.0.1:81/TCP goes", "SERVICES[2]: port closed", "BACKENDS[2]: 10.244.0.2:8080/TCP is gone"]
    );
}

#[test]
fn an_endpoint_that_comes_back_keeps_its_id_and_its_count() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1, 2])));
    let before = id(&agent, 0, 1);
    connect(&mut agent, 7, 0, before, CONFIRMED);
    put(&mut agent, 0, Some(simple(0, &[2])));
    while grace(&mut agent) {}
    assert_eq!(agent.service_counts(&name(0)).unwrap().backends.len(), 2);
    put(&mut agent, 0, Some(simple(0, &[1, 2])));
    let counts = agent.service_counts(&name(0)).unwrap();
    let back = counts.backends.iter().find(|b| b.key == key(0, 1)).unwrap();
    assert_eq!((back.id, back.active, back.state, back.in_slots), (before, 1, BackendState::Serving, true));
}

#[test]
fn an_id_is_free_after_the_last_connection_and_two_grace_periods() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let backend = id(&agent, 0, 1);
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    put(&mut agent, 0, Some(simple(0, &[2])));
    while grace(&mut agent) {}
    assert_eq!(agent.applied().used().backends, 2, "a connection is open");
    close(&mut agent, 7);
    agent.retire();
    assert_eq!(agent.applied().used().backends, 2, "a program may have read it before it was free");
    assert!(grace(&mut agent));
    assert_eq!(agent.applied().used().backends, 1);
    assert!(!grace(&mut agent), "nothing more to wait for");
}

#[test]
fn the_account_stays_when_its_first_port_goes() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(service(0, vec![port(0, 80, &[1]), port(0, 81, &[1])])));
    let account = agent.applied().account_of(&name(0)).unwrap().id;
    let backend = id(&agent, 0, 1);
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    put(&mut agent, 0, Some(service(0, vec![port(0, 81, &[1])])));
    while grace(&mut agent) {}
    let counts = agent.service_counts(&name(0)).unwrap();
    assert_eq!((counts.account, counts.active, counts.ports.len()), (account, 1, 1));
    assert_ne!(counts.ports[0].id, account);
    assert_eq!(agent.name_of(account), Some((&name(0), Some(frontend(0, 80)))), "a connection names the port");
    // Nothing else counts there: once no connection names the old port, another may have its entry.
    close(&mut agent, 7);
    agent.retire();
    put(&mut agent, 0, Some(service(0, vec![port(0, 81, &[1]), port(0, 82, &[1])])));
    assert_eq!(agent.applied().frontend(&frontend(0, 82)), Some(account));
}

#[test]
fn a_service_that_is_deleted_and_created_again_keeps_counting() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let backend = id(&agent, 0, 1);
    let account = connect(&mut agent, 7, 0, backend, CONFIRMED);
    put(&mut agent, 0, None);
    while grace(&mut agent) {}
    assert!(agent.maps().frontends().unwrap().is_empty());
    put(&mut agent, 0, Some(simple(0, &[1])));
    let counts = agent.service_counts(&name(0)).unwrap();
    assert_eq!((counts.account, counts.active), (account, 1));
    assert_eq!(id(&agent, 0, 1), backend);
}

#[test]
fn endpoints_change_at_once_while_frontends_wait_for_a_grace_period() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    put(&mut agent, 1, Some(simple(1, &[1])));
    put(&mut agent, 0, None);
    // Deleted: from here on no element may be inserted, but endpoints are in force at once.
    put(&mut agent, 2, Some(simple(2, &[1])));
    put(&mut agent, 1, Some(simple(1, &[2])));
    let counts = agent.service_counts(&name(1)).unwrap();
    assert_eq!(counts.ports[0].slots, [id(&agent, 1, 2)]);
    let waiting: Vec<_> = agent.pending().map(|(subject, _)| subject.clone()).collect();
    assert_eq!(waiting, [Subject::Service(name(2))]);
    assert!(grace(&mut agent));
    assert_eq!(agent.pending().count(), 0);
    assert!(agent.applied().frontend(&frontend(2, 80)).is_some());
}

#[test]
fn a_grace_period_that_fails_is_wanted_again() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    put(&mut agent, 0, None);
    let ticket = agent.begin_grace().unwrap();
    assert_eq!(agent.begin_grace(), None, "one is under way");
    agent.end_grace(ticket, &Err(std::io::Error::from_raw_os_error(libc::EPERM)));
    put(&mut agent, 1, Some(simple(1, &[1])));
    assert_eq!(agent.pending().count(), 1, "still not safe");
    assert!(grace(&mut agent));
    assert_eq!(agent.pending().count(), 0);
}

#[test]
fn an_address_that_another_service_holds_is_waited_for() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let mut second = simple(1, &[1]);
    second.addresses = vec![cluster_ip(1)];
    second.ports[0].frontends = vec![frontend(0, 80)];
    put(&mut agent, 1, Some(second));
    let [(_, pending)] = agent.pending().collect::<Vec<_>>()[..] else { panic!("one is pending") };
    assert!(matches!(pending.state, State::Waiting { .. }));
    let words: Vec<_> = pending.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "10.96.0.1:80/TCP still belongs to Service shop/service-0",
            "10.96.0.1 still belongs to Service shop/service-0"
        ]
    );
    put(&mut agent, 0, None);
    assert!(agent.maps().frontends().unwrap().is_empty(), "not before a grace period");
    assert!(grace(&mut agent));
    assert_eq!(agent.pending().count(), 0);
    let account = agent.applied().account_of(&name(1)).unwrap().id;
    assert_eq!(agent.maps().frontends().unwrap(), [(frontend(0, 80), account)]);
}

const GRACE: Duration = Duration::from_secs(30);

/// A Service that had two backends of which the second, with a connection, has gone; as it is asked for.
fn gone(ends: Option<Duration>) -> (Agent, DesiredService, BackendId) {
    let mut agent = agent(ROOMY);
    let mut desired = simple(0, &[1, 2]);
    desired.ports[0].endings.gone = ends;
    put(&mut agent, 0, Some(desired.clone()));
    let backend = id(&agent, 0, 2);
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    desired.ports[0].slots = vec![key(0, 1)];
    put(&mut agent, 0, Some(desired.clone()));
    (agent, desired, backend)
}

#[test]
fn sockets_of_a_backend_end_as_its_port_says_and_no_sooner_than_is_known_what_it_says() {
    let before = monotonic();
    let (mut agent, mut desired, backend) = gone(Some(GRACE));
    let later = monotonic() + 2 * GRACE.as_nanos() as u64;
    assert_eq!(agent.ending(later), Ending::default(), "another source has yet to report");
    agent.first_list_done();
    agent.sync(Instant::now());
    let ending = agent.ending(monotonic());
    let at = ending.next.unwrap();
    assert!(ending.due.is_empty() && at >= before + GRACE.as_nanos() as u64 && at < later);
    let due = Ending { due: [backend].into(), next: None };
    assert_eq!((agent.ending(at - 1).next, agent.ending(at)), (Some(at), due.clone()));
    // The clock started when it went, whatever is asked for since.
    for (ends, expected) in [(None, Ending::default()), (Some(Duration::ZERO), due)] {
        desired.ports[0].endings.gone = ends;
        put(&mut agent, 0, Some(desired.clone()));
        assert_eq!(agent.ending(monotonic()), expected, "{ends:?}");
    }
    while grace(&mut agent) {}
    close(&mut agent, 7);
    assert_eq!(agent.ending(later), Ending::default(), "nothing is left");
}

#[test]
fn the_next_agent_goes_on_with_the_clock_of_the_one_before() {
    let (mut agent, desired, backend) = gone(Some(GRACE));
    agent.first_list_done();
    agent.sync(Instant::now());
    let ending = agent.ending(monotonic());
    let maps = std::mem::replace(agent.maps_mut(), MemoryMaps::new(ROOMY));
    let mut next = Reconciler::adopt(maps, || Ok(())).unwrap();
    next.set(name(0), Some(desired));
    next.sync(Instant::now());
    next.first_list_done();
    next.sync(Instant::now());
    assert_eq!(next.ending(monotonic()), ending);
    assert_eq!(next.ending(ending.next.unwrap()).due, [backend].into());
}

#[test]
fn services_go_at_once_unless_one_waits_to_come() {
    let mut agent = agent(ROOMY);
    for number in 0..3 {
        put(&mut agent, number, Some(simple(number, &[1])));
    }
    put(&mut agent, 0, None);
    put(&mut agent, 1, None);
    assert_eq!(agent.maps().frontends().unwrap().len(), 1, "nothing waits to come");
    let ticket = agent.begin_grace().unwrap();
    put(&mut agent, 3, Some(simple(3, &[1])));
    put(&mut agent, 2, None);
    assert_eq!(agent.maps().frontends().unwrap().len(), 1, "it would make the one that comes wait longer");
    agent.end_grace(ticket, &Ok(()));
    agent.sync(Instant::now());
    assert_eq!(agent.maps().frontends().unwrap().len(), 1, "one came, then one went");
    assert!(agent.applied().frontend(&frontend(3, 80)).is_some());
    assert_eq!(agent.pending().count(), 0);
}

#[test]
fn a_backend_drains_until_no_program_can_reach_it_and_no_connection_is_open() {
    let mut agent = agent(ROOMY);
    agent.first_list_done();
    let mut desired = simple(0, &[1, 2]);
    desired.ports[0].endings.gone = Some(Duration::ZERO);
    put(&mut agent, 0, Some(desired.clone()));
    let backend = id(&agent, 0, 1);
    let is_draining = |agent: &Agent| agent.ending(monotonic()).due.contains(&backend);
    assert!(!is_draining(&agent));
    desired.ports[0].slots = vec![key(0, 2)];
    put(&mut agent, 0, Some(desired));
    assert!(is_draining(&agent), "a program may have picked it");
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    while grace(&mut agent) {}
    assert!(is_draining(&agent));
    close(&mut agent, 7);
    assert!(!is_draining(&agent));
}
