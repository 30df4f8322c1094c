//! What a set of Services would change, without changing anything: `mesh plan`.

use super::{Applied, DesiredService, Diff, Subject, diff};
use crate::model::ServiceKey;
use std::collections::BTreeMap;

/// The steps that bring what the maps hold to exactly these Services, Service by Service, then what would be removed
/// because no Service has claimed it. Those without any step are left out.
///
/// Each is planned as if those before it had been done at once. An agent may need a grace period in between: what waits
/// for one is in [`Diff::held`] and [`Diff::unfinished`].
pub fn preview(mut applied: Applied, services: &BTreeMap<ServiceKey, DesiredService>) -> Vec<(Subject, Diff)> {
    applied.claim(services.iter());
    let named = services.iter().map(|(key, desired)| (Subject::Service(key.clone()), Some(desired)));
    let mut planned: Vec<(Subject, Diff)> = Vec::new();
    for (subject, desired) in named {
        planned.extend(step(&mut applied, subject, desired));
    }
    for id in applied.orphans() {
        planned.extend(step(&mut applied, Subject::Orphan(id), None));
    }
    planned
}

fn step(applied: &mut Applied, subject: Subject, desired: Option<&DesiredService>) -> Option<(Subject, Diff)> {
    let diff = diff(&subject, desired, applied);
    for op in &diff.ops {
        applied.apply(op);
    }
    (diff != Diff::default()).then_some((subject, diff))
}
