//! What does not fit is refused with its name, and what worked goes on.

use super::convergence::ROOMY;
use super::small::{Agent, agent, grace, id, put, simple};
use super::world::name;
use crate::plan::{Refusal, Sizes, Table};
use crate::reconcile::Problem;
use std::time::{Duration, Instant};

fn refusals(agent: &Agent) -> Vec<(Table, String)> {
    let problems = agent.pending().flat_map(|(_, pending)| pending.problems());
    problems
        .map(|problem| match problem {
            Problem::Refused(refusal) => (refusal.table(), format!("{refusal}; {}", refusal.action())),
            other => panic!("{other}"),
        })
        .collect()
}

#[test]
fn s29_a_full_table_refuses_the_new_and_keeps_the_old() {
    let tight = [
        (Table::Frontends, Sizes { frontends: 1, ..ROOMY }),
        (Table::Services, Sizes { services: 2, ..ROOMY }),
        (Table::Slots, Sizes { slots: 2, ..ROOMY }),
        (Table::Backends, Sizes { backends: 3, ..ROOMY }),
        (Table::Addresses, Sizes { addresses: 1, ..ROOMY }),
    ];
    for (table, sizes) in tight {
        let mut agent = agent(sizes);
        put(&mut agent, 0, Some(simple(0, &[1, 2])));
        assert_eq!(agent.pending().count(), 0);
        put(&mut agent, 1, Some(simple(1, &[1, 2])));
        let refused = refusals(&agent);
        assert_eq!(refused.iter().map(|(table, _)| *table).collect::<Vec<_>>(), [table]);
        assert!(refused[0].1.contains(table.name()) && refused[0].1.contains(table.flag()), "{}", refused[0].1);
        assert!(refused[0].1.contains(&sizes.of(table).to_string()), "{}", refused[0].1);
        assert_eq!(agent.service_counts(&name(0)).unwrap().ports[0].slots.len(), 2, "{table}");
        // Once the first is gone there is room: the second follows by itself.
        put(&mut agent, 0, None);
        let mut later = Instant::now();
        while agent.pending().next().is_some() {
            grace(&mut agent);
            later += Duration::from_secs(10);
            agent.sync(later);
        }
        assert_eq!(agent.service_counts(&name(1)).unwrap().ports[0].slots.len(), 2, "{table}");
    }
}

#[test]
fn with_no_range_left_a_port_serves_in_its_own_what_fits() {
    let mut agent = agent(Sizes { slots: 3, ..ROOMY });
    put(&mut agent, 0, Some(simple(0, &[1, 2])));
    put(&mut agent, 0, Some(simple(0, &[3, 4, 5])));
    let counts = agent.service_counts(&name(0)).unwrap();
    assert_eq!(counts.ports[0].slots, [id(&agent, 0, 3), id(&agent, 0, 4)], "none that is gone");
    let [(_, pending)] = agent.pending().collect::<Vec<_>>()[..] else { panic!("one is pending") };
    assert!(
        matches!(pending.problems(), [Problem::Refused(Refusal::Slots { wanted: 3, served: 2, free: 1, .. })]),
        "{:?}",
        pending.problems()
    );
    // Fewer fit again: nothing is amiss.
    put(&mut agent, 0, Some(simple(0, &[5])));
    assert_eq!(agent.pending().count(), 0);
    while grace(&mut agent) {}
    assert_eq!(agent.applied().used().slots, 1);
}
