//! What the cluster was told, and what of what it should be told is new. Pure.

use super::wanted::{Note, Said, Wanted};
use crate::model::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};

/// What was said of each object.
#[derive(Debug, Default)]
pub struct Told {
    objects: BTreeMap<ObjectRef, Spoken>,
}

/// What was said of one object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spoken {
    /// The generation that the conditions speak of.
    pub generation: Option<i64>,
    /// The conditions that are ours.
    pub conditions: Vec<Said>,
    /// The Events that were written for what is still wrong.
    pub events: BTreeSet<String>,
}

/// One thing to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// These are the object's conditions now, as far as they are ours.
    Conditions(ObjectRef, Option<i64>, Vec<Said>),
    /// An Event.
    Event(ObjectRef, Note),
}

impl Told {
    /// What an earlier agent said, as the objects show.
    pub fn found(objects: BTreeMap<ObjectRef, Spoken>) -> Self {
        Self { objects }
    }

    /// What is to be written so that everything is said that is wanted, and nothing else; conditions first.
    pub fn lacks(&self, wanted: &BTreeMap<ObjectRef, Wanted>) -> Vec<Action> {
        let nothing = Spoken::default();
        let mut actions = Vec::new();
        let mut events = Vec::new();
        for (object, wanted) in wanted {
            let spoken = self.objects.get(object).unwrap_or(&nothing);
            let known = wanted.generation.is_none_or(|generation| spoken.generation == Some(generation));
            if spoken.conditions != wanted.conditions || !(known || wanted.conditions.is_empty()) {
                actions.push(Action::Conditions(object.clone(), wanted.generation, wanted.conditions.clone()));
            }
            let new = wanted.events.iter().filter(|note| !spoken.events.contains(&note.name));
            events.extend(new.map(|note| Action::Event(object.clone(), note.clone())));
        }
        let over = self
            .objects
            .iter()
            .filter(|(object, spoken)| !spoken.conditions.is_empty() && !wanted.contains_key(object));
        actions.extend(over.map(|(object, _)| Action::Conditions(object.clone(), None, Vec::new())));
        actions.extend(events);
        actions
    }

    /// It was written.
    pub fn done(&mut self, action: Action) {
        match action {
            Action::Conditions(object, generation, conditions) => {
                let spoken = self.objects.entry(object).or_default();
                (spoken.generation, spoken.conditions) = (generation, conditions);
            }
            Action::Event(object, note) => drop(self.objects.entry(object).or_default().events.insert(note.name)),
        }
    }

    /// Forgets the Events of what is no longer wrong, so that they are written again when it is wrong again.
    pub fn forget(&mut self, wanted: &BTreeMap<ObjectRef, Wanted>) {
        self.objects.retain(|object, spoken| {
            let wanted = wanted.get(object);
            spoken
                .events
                .retain(|name| wanted.is_some_and(|wanted| wanted.events.iter().any(|note| note.name == *name)));
            !spoken.conditions.is_empty() || !spoken.events.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Service, namespace: "shop".into(), name: name.into() }
    }

    fn wants(message: &str, generation: Option<i64>) -> Wanted {
        let (type_, reason) = ("mesh.dev/Accepted".to_owned(), "Conflicted".to_owned());
        Wanted {
            generation,
            conditions: vec![Said { type_, status: false, reason, message: message.to_owned() }],
            events: BTreeSet::from([Note { name: message.to_owned(), reason: "Conflicted", text: message.to_owned() }]),
        }
    }

    fn tell(told: &mut Told, wanted: &BTreeMap<ObjectRef, Wanted>) -> Vec<Action> {
        told.forget(wanted);
        let actions = told.lacks(wanted);
        actions.iter().cloned().for_each(|action| told.done(action));
        actions
    }

    #[test]
    fn all_is_said_once_and_taken_back_once() {
        let mut told = Told::default();
        let wanted = BTreeMap::from([(object("a"), wants("x", None)), (object("b"), wants("y", None))]);
        assert_eq!(tell(&mut told, &wanted).len(), 4, "two conditions, two Events");
        assert_eq!(tell(&mut told, &wanted), []);
        let mended = BTreeMap::from([(object("b"), wants("y", None))]);
        assert_eq!(tell(&mut told, &mended), [Action::Conditions(object("a"), None, Vec::new())]);
        assert_eq!(tell(&mut told, &mended), []);
        assert_eq!(tell(&mut told, &wanted).len(), 2, "wrong again: said again");
    }

    #[test]
    fn another_generation_is_said_though_nothing_else_is_new() {
        let mut told = Told::default();
        tell(&mut told, &BTreeMap::from([(object("a"), wants("x", Some(1)))]));
        let now = BTreeMap::from([(object("a"), wants("x", Some(2)))]);
        assert_eq!(tell(&mut told, &now).len(), 1);
        assert_eq!(tell(&mut told, &now), []);
    }

    #[test]
    fn what_an_earlier_agent_said_is_not_said_again() {
        let wanted = wants("x", None);
        let said = Spoken { generation: Some(4), conditions: wanted.conditions.clone(), events: BTreeSet::new() };
        let mut told = Told::found(BTreeMap::from([(object("a"), said.clone()), (object("gone"), said)]));
        let actions = tell(&mut told, &BTreeMap::from([(object("a"), wanted)]));
        let expected = |action: &Action| matches!(action, Action::Event(a, _) if *a == object("a"));
        assert!(actions.iter().any(expected), "its Events are not on the object: {actions:?}");
        assert!(actions.contains(&Action::Conditions(object("gone"), None, Vec::new())));
        assert_eq!(actions.len(), 2);
    }
}
