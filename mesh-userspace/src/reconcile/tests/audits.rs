//! Recounting connections.

use super::convergence::ROOMY;
use super::small::{Agent, agent, connect, grace, id, key, port, put, service, simple};
use super::world::name;
use crate::maps::Maps;
use crate::plan::{DesiredPort, DesiredService};
use crate::reconcile::{Counted, Drift};
use mesh_common::outlier::{self, Outcome, Recorded};
use mesh_common::tables::{CONFIRMED, OutlierRule, ServiceId, Thresholds};

#[test]
fn a_connect_that_failed_on_this_host_gives_its_slots_back_once() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let backend = id(&agent, 0, 1);
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    connect(&mut agent, 8, 0, backend, 0);
    let seconds = 1_000_000_000;
    assert_eq!(agent.audit(seconds).unwrap().given_back, 0, "it may yet send its SYN");
    let audit = agent.audit(3 * seconds).unwrap();
    assert_eq!((audit.given_back, audit.connections, audit.drift), (1, 1, Vec::new()));
    assert_eq!(agent.audit(4 * seconds).unwrap().given_back, 0);
    // A machine that stood still shows as old what has only begun.
    connect(&mut agent, 9, 0, backend, 0);
    assert_eq!(agent.audit(9 * seconds).unwrap().given_back, 0, "seen for the first time");
    assert_eq!(agent.audit(10 * seconds).unwrap().given_back, 1);
    let counts = agent.service_counts(&name(0)).unwrap();
    assert_eq!((counts.active, counts.backends[0].active), (1, 1));
}

#[test]
fn a_count_that_is_off_shows_in_the_second_audit() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let backend = id(&agent, 0, 1);
    let account = connect(&mut agent, 7, 0, backend, CONFIRMED);
    agent.maps().arrays().backend(backend).unwrap().active.fetch_add(2);
    agent.maps().arrays().service(account).unwrap().active.fetch_add(1);
    let audit = agent.audit(0).unwrap();
    assert_eq!((audit.drift, audit.repaired), (vec![], vec![]), "a connection may have been on its way");
    agent.maps().arrays().service(account).unwrap().active.fetch_sub(1);
    agent.maps().arrays().service(account).unwrap().opened.fetch_add(1);
    let drift = Drift { what: Counted::Backend(backend), counted: 1, active: 3 };
    let audit = agent.audit(0).unwrap();
    assert_eq!((audit.drift, audit.repaired), (vec![drift], vec![]), "others may be on their way by now");
    assert_eq!(agent.maps().arrays().backend(backend).unwrap().active.load(), 3);
}

#[test]
fn a_count_that_is_off_while_nothing_connects_is_set_right() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(simple(0, &[1])));
    let backend = id(&agent, 0, 1);
    let account = connect(&mut agent, 7, 0, backend, CONFIRMED);
    agent.maps().arrays().backend(backend).unwrap().active.fetch_sub(1);
    agent.maps().arrays().service(account).unwrap().active.fetch_add(2);
    assert_eq!(agent.audit(0).unwrap().repaired, []);
    let audit = agent.audit(0).unwrap();
    let [one, other] = [(Counted::Account(account), 3), (Counted::Backend(backend), 0)].map(|(what, active)| Drift {
        what,
        counted: 1,
        active,
    });
    assert_eq!((audit.drift, audit.repaired), (vec![one, other], vec![one, other]));
    let counts = agent.service_counts(&name(0)).unwrap();
    assert_eq!((counts.active, counts.backends[0].active), (1, 1));
    assert_eq!(agent.audit(0).unwrap().drift, []);
}

#[test]
fn an_audit_frees_the_entry_of_a_port_that_no_connection_names() {
    let mut agent = agent(ROOMY);
    put(&mut agent, 0, Some(service(0, vec![port(0, 80, &[1]), port(0, 81, &[1])])));
    let backend = id(&agent, 0, 1);
    connect(&mut agent, 7, 0, backend, CONFIRMED);
    put(&mut agent, 0, Some(simple(0, &[1])));
    while grace(&mut agent) {}
    assert_eq!(agent.applied().used().services, 2, "a connection may name the port");
    agent.audit(0).unwrap();
    while grace(&mut agent) {}
    assert_eq!(agent.applied().used().services, 1);
}

/// An agent whose Service 0 ejects after one failure, for 5 s, with two backends, and its account.
fn ejecting() -> (Agent, ServiceId) {
    let mut agent = agent(ROOMY);
    let thresholds = Thresholds { connects: 1, resets: 1, ..Thresholds::default() };
    let outlier = OutlierRule { thresholds, base_ejection: 5_000, allowed: 3, ..OutlierRule::default() };
    put(&mut agent, 0, Some(DesiredService { outlier, ..simple(0, &[1, 2]) }));
    let account = agent.service_counts(&name(0)).unwrap().account;
    (agent, account)
}

fn fail(agent: &Agent, number: u8, at: u64) {
    let (id, arrays) = (id(agent, 0, number), agent.maps().arrays());
    let account = agent.service_counts(&name(0)).unwrap().account;
    let standing = &arrays.backend(id).unwrap().standing;
    let failed = outlier::record(standing, arrays.outlier(account).unwrap(), Outcome::ConnectFailed, at);
    assert_eq!(failed, Recorded::Ejected);
}

#[test]
fn a_count_of_ejected_backends_that_is_off_is_set_right_once_nothing_was_ejected_in_between() {
    let (mut agent, account) = ejecting();
    let ejected = |agent: &Agent| agent.maps().arrays().outlier(account).unwrap().ejected.load();
    let add = |agent: &Agent, by: i64| {
        agent.maps().arrays().outlier(account).unwrap().ejected.fetch_add(by.cast_unsigned());
    };
    fail(&agent, 1, 0);
    // One was unmarked by an agent that was killed before it gave the place back.
    add(&agent, 1);
    let audit = agent.audit(0).unwrap();
    assert_eq!((audit.drift, audit.repaired), (vec![], vec![]), "a place may have been on its way");
    fail(&agent, 2, 0);
    let drift = Drift { what: Counted::Ejected(account), counted: 2, active: 3 };
    let audit = agent.audit(0).unwrap();
    assert_eq!((audit.drift, audit.repaired), (vec![drift], vec![]), "another was ejected in between");
    let audit = agent.audit(0).unwrap();
    assert_eq!((audit.drift, audit.repaired), (vec![drift], vec![drift]));
    assert_eq!(ejected(&agent), 2);

    // One too few, and none at all.
    for off in [-1, -2] {
        add(&agent, off);
        assert_eq!(agent.audit(0).unwrap().repaired, []);
        assert_eq!(agent.audit(0).unwrap().repaired.len(), 1);
        assert_eq!(ejected(&agent), 2);
    }
    // What is right stays.
    assert_eq!(agent.audit(0).unwrap().drift, []);
    assert_eq!(agent.audit(6_000_000_000).unwrap().drift, []);
    assert_eq!(ejected(&agent), 0, "both are back");
}

#[test]
fn a_place_that_is_given_back_between_two_audits_was_on_its_way() {
    let (mut agent, account) = ejecting();
    let outlier = |agent: &Agent| agent.maps().arrays().outlier(account).unwrap().ejected.load();
    fail(&agent, 1, 0);
    // In the midst of a return: unmarked, not yet given back.
    let backend = id(&agent, 0, 1);
    agent.maps().arrays().backend(backend).unwrap().standing.store(0);
    assert_eq!(agent.audit(0).unwrap().drift, []);
    agent.maps().arrays().outlier(account).unwrap().ejected.fetch_sub(1);
    for _ in 0..3 {
        let audit = agent.audit(0).unwrap();
        assert_eq!((audit.drift, audit.repaired), (vec![], vec![]));
        assert_eq!(outlier(&agent), 0);
    }
}

#[test]
fn an_ejection_that_is_over_or_of_one_that_takes_nothing_counts_no_more() {
    let mut agent = agent(ROOMY);
    let thresholds = Thresholds { connects: 1, resets: 1, ..Thresholds::default() };
    let outlier = OutlierRule { thresholds, base_ejection: 5_000, allowed: 3, ..OutlierRule::default() };
    let with = |slots: &[u8], kept: Vec<_>| DesiredService {
        outlier,
        ..service(0, vec![DesiredPort { kept, ..port(0, 80, slots) }])
    };
    put(&mut agent, 0, Some(with(&[1, 2], Vec::new())));
    let [one, other] = [1, 2].map(|number| id(&agent, 0, number));
    let account = agent.service_counts(&name(0)).unwrap().account;
    let ejected = |agent: &Agent| agent.maps().arrays().outlier(account).unwrap().ejected.load();
    for (backend, at) in [(one, 1_000), (other, 9_000)] {
        let arrays = agent.maps().arrays();
        let standing = &arrays.backend(backend).unwrap().standing;
        let failed = outlier::record(standing, arrays.outlier(account).unwrap(), Outcome::ConnectFailed, at);
        assert_eq!(failed, Recorded::Ejected);
    }
    agent.audit(5_999_000_000).unwrap();
    assert_eq!(ejected(&agent), 2);
    agent.audit(6_000_000_000).unwrap();
    assert_eq!(ejected(&agent), 1, "the first is back");
    put(&mut agent, 0, Some(with(&[1], vec![key(0, 2)])));
    agent.audit(6_000_000_000).unwrap();
    assert_eq!(ejected(&agent), 0, "the second takes no new connections");
}
