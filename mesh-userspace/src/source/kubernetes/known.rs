//! The objects of one kind that were sent on, and what a full list takes back.

use crate::model::{Finding, ObjectRef};
use crate::source::object::Item;
use crate::source::{Change, Subject};
use std::collections::{HashMap, HashSet};

/// What was sent of one kind.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Each object, with the number of the list that last held it.
    sent: HashMap<ObjectRef, u64>,
    /// Objects with findings.
    flagged: HashSet<ObjectRef>,
    /// Lists begun.
    lists: u64,
}

impl Known {
    /// A full list begins. What is known stays until the list is complete, however often it is begun.
    pub(super) fn begin_list(&mut self) {
        self.lists += 1;
    }

    /// The full list is complete: what it did not hold is gone.
    pub(super) fn end_list(&mut self, changes: &mut Vec<Change>) {
        let gone: Vec<ObjectRef> =
            self.sent.iter().filter(|(_, list)| **list != self.lists).map(|(object, _)| object.clone()).collect();
        for object in gone {
            self.remove(object, changes);
        }
        self.sent.shrink_to_fit();
    }

    /// An object is there. One that cannot be understood goes on as it was understood last.
    pub(super) fn put(&mut self, name: ObjectRef, item: Item, changes: &mut Vec<Change>) {
        match item {
            Item::Understood(object, findings) => {
                self.report(&name, findings, changes);
                self.sent.insert(name, self.lists);
                changes.push(Change::Upsert { object, origin: None });
            }
            Item::Rejected(_, findings) => {
                self.report(&name, findings, changes);
                self.sent.insert(name, self.lists);
            }
            Item::PassedOver(_) => self.remove(name, changes),
        }
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, name: ObjectRef, changes: &mut Vec<Change>) {
        self.report(&name, Vec::new(), changes);
        if self.sent.remove(&name).is_some() {
            changes.push(Change::Remove(name));
        }
    }

    fn report(&mut self, name: &ObjectRef, findings: Vec<Finding>, out: &mut Vec<Change>) {
        if findings.is_empty() {
            if !self.flagged.remove(name) {
                return;
            }
        } else {
            self.flagged.insert(name.clone());
        }
        out.push(Change::Findings { subject: Subject::Object(name.clone()), findings });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Locality, Node, Object};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What happens on the server, and to the connection.
    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Remove(u8),
        /// The connection is lost; what happens until the next list is not told.
        Lose,
        /// A list begins and is complete after this many objects, or is broken off.
        List {
            broken_off: bool,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u8..6, 0u8..4).prop_map(|(name, zone)| Step::Put(name, zone)),
            2 => (0u8..6).prop_map(Step::Remove),
            1 => Just(Step::Lose),
            2 => any::<bool>().prop_map(|broken_off| Step::List { broken_off }),
        ];
        proptest::collection::vec(step, 0..60)
    }

    fn name(n: u8) -> ObjectRef {
        ObjectRef { kind: Kind::Node, namespace: "".into(), name: format!("node-{n}").into() }
    }

    fn item(n: u8, zone: u8) -> Item {
        let locality = Locality::of_zone(zone.to_string().into());
        let node = Node { name: name(n).name, locality, deleting: false, addresses: Vec::new() };
        Item::Understood(Object::Node(node), Vec::new())
    }

    /// The far end: what has been sent, applied.
    fn apply(state: &mut BTreeMap<String, String>, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Upsert { object: Object::Node(node), .. } => {
                    state.insert(node.name.to_string(), node.locality.zone.to_string());
                }
                Change::Remove(object) => {
                    assert!(state.remove(&*object.name).is_some(), "only what was sent is taken back");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn after_a_complete_list_the_far_end_holds_what_the_server_holds(steps in steps()) {
            let (mut known, mut server, mut far) = (Known::default(), BTreeMap::new(), BTreeMap::new());
            let mut connected = false;
            for step in steps.into_iter().chain([Step::List { broken_off: false }]) {
                let mut changes = Vec::new();
                match step {
                    Step::Put(n, zone) => {
                        server.insert(n, zone);
                        if connected {
                            known.put(name(n), item(n, zone), &mut changes);
                        }
                    }
                    Step::Remove(n) => {
                        server.remove(&n);
                        if connected {
                            known.remove(name(n), &mut changes);
                        }
                    }
                    Step::Lose => connected = false,
                    Step::List { broken_off } => {
                        known.begin_list();
                        let seen = if broken_off { server.len() / 2 } else { server.len() };
                        for (n, zone) in server.iter().take(seen) {
                            known.put(name(*n), item(*n, *zone), &mut changes);
                        }
                        prop_assert!(!changes.iter().any(|change| matches!(change, Change::Remove(_))));
                        if !broken_off {
                            known.end_list(&mut changes);
                        }
                        connected = !broken_off;
                    }
                }
                apply(&mut far, changes);
                if connected {
                    let held: BTreeMap<_, _> =
                        server.iter().map(|(n, zone)| (name(*n).name.to_string(), zone.to_string())).collect();
                    prop_assert_eq!(&far, &held);
                }
            }
        }
    }
}
