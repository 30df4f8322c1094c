//! Which document speaks for which object, where several name the same one.
//!
//! The first one understood speaks; the others stand by, are reported, and take over in their order when it goes. What
//! cannot be understood any more goes on speaking with what it last meant.

use crate::model::{Object, ObjectRef};
use crate::source::Change;
use std::collections::{BTreeSet, HashMap};

/// A file, for as long as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct FileId(pub(super) u32);

/// A document of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: FileId,
    pub(super) document: u32,
}

/// What a document says of an object, compared with what it said before.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// This.
    Means(Box<Object>),
    /// Nothing that can be understood: what it last meant goes on.
    Nonsense,
    /// The same as before.
    Same,
}

#[derive(Debug)]
struct Standby {
    place: Place,
    /// What it last meant; `None` when it was never understood.
    meaning: Option<Box<Object>>,
}

#[derive(Debug, Default)]
struct Claim {
    speaker: Option<Place>,
    standby: Vec<Standby>,
}

/// Every object that a document names.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_object: HashMap<ObjectRef, Claim>,
    /// Those named more than once.
    contested: BTreeSet<ObjectRef>,
}

/// A place that names an object for which another speaks.
#[derive(Debug)]
pub(super) struct Duplicate<'a> {
    pub(super) object: &'a ObjectRef,
    pub(super) place: Place,
    pub(super) first: Place,
}

impl Claims {
    /// Sets everything that one file says of one object, in its order. Pushes what that changes, and gives the files
    /// whose duplicates changed.
    pub(super) fn set(
        &mut self,
        object: &ObjectRef,
        file: FileId,
        says: Vec<(Place, Says)>,
        mut upsert: impl FnMut(Object, Place) -> Change,
        changes: &mut Vec<Change>,
    ) -> Vec<FileId> {
        if says.is_empty() && !self.by_object.contains_key(object) {
            return Vec::new();
        }
        let claim = self.by_object.entry(object.clone()).or_default();
        let was_spoken_for = claim.speaker.is_some();
        // What each of the file's places says now: the same document, or else the next one, for documents move when one is
        // written before them.
        let mut says = says;
        let places = claim.speaker.iter().chain(claim.standby.iter().map(|standby| &standby.place));
        let kept: Vec<u32> = places.filter(|place| place.file == file).map(|place| place.document).collect();
        let mut next = |place: Place| {
            let same = says.iter().position(|(now, _)| now.document == place.document);
            let moved = || says.iter().position(|(now, _)| !kept.contains(&now.document));
            same.or_else(moved).map(|position| says.remove(position))
        };

        if let Some(speaker) = claim.speaker.filter(|speaker| speaker.file == file) {
            claim.speaker = None;
            if let Some((place, what)) = next(speaker) {
                claim.speaker = Some(place);
                if let Says::Means(meaning) = what {
                    changes.push(upsert(*meaning, place));
                }
            }
        }
        claim.standby.retain_mut(|standby| {
            if standby.place.file != file {
                return true;
            }
            let Some((place, what)) = next(standby.place) else { return false };
            standby.place = place;
            if let Says::Means(meaning) = what {
                standby.meaning = Some(meaning);
            }
            true
        });
        claim.standby.extend(says.into_iter().map(|(place, what)| Standby {
            place,
            meaning: if let Says::Means(meaning) = what { Some(meaning) } else { None },
        }));

        if claim.speaker.is_none() {
            if let Some(next) = claim.standby.iter().position(|standby| standby.meaning.is_some()) {
                let next = claim.standby.remove(next);
                claim.speaker = Some(next.place);
                changes.extend(next.meaning.map(|meaning| upsert(*meaning, next.place)));
            } else if was_spoken_for {
                changes.push(Change::Remove(object.clone()));
            }
        }
        self.settle(object)
    }

    /// Drops what nobody names, keeps account of what several name, and gives their files.
    fn settle(&mut self, object: &ObjectRef) -> Vec<FileId> {
        let Some(claim) = self.by_object.get_mut(object) else { return Vec::new() };
        let places = usize::from(claim.speaker.is_some()) + claim.standby.len();
        let files: Vec<FileId> = claim
            .standby
            .iter()
            .map(|standby| standby.place.file)
            .chain(claim.speaker.map(|place| place.file))
            .collect();
        let was_contested =
            if places > 1 { !self.contested.insert(object.clone()) } else { self.contested.remove(object) };
        if places == 0 {
            self.by_object.remove(object);
        } else {
            claim.standby.shrink_to_fit();
        }
        if places > 1 || was_contested { files } else { Vec::new() }
    }

    /// What `file` says in vain.
    pub(super) fn duplicates(&self, file: FileId) -> impl Iterator<Item = Duplicate<'_>> {
        self.contested.iter().flat_map(move |object| {
            let claim = &self.by_object[object];
            let (first, others) = match (claim.speaker, claim.standby.split_first()) {
                (Some(first), _) => (first, &claim.standby[..]),
                (None, Some((first, others))) => (first.place, others),
                (None, None) => unreachable!("what is contested has places"),
            };
            others.iter().filter(move |other| other.place.file == file).map(move |other| Duplicate {
                object,
                place: other.place,
                first,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Locality, Node};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn node(zone: &str) -> Object {
        let locality = Locality::of_zone(zone.into());
        Object::Node(Node { name: "n".into(), locality, deleting: false, addresses: Vec::new() })
    }

    fn object() -> ObjectRef {
        ObjectRef { kind: Kind::Node, namespace: "".into(), name: "n".into() }
    }

    fn zone(change: &Change) -> Option<&str> {
        match change {
            Change::Upsert { object: Object::Node(node), .. } => Some(&node.locality.zone),
            _ => None,
        }
    }

    fn set(claims: &mut Claims, file: u32, says: Vec<Says>) -> Vec<Change> {
        let mut changes = Vec::new();
        let says =
            says.into_iter().zip(1..).map(|(what, document)| (Place { file: FileId(file), document }, what)).collect();
        let upsert = |object, _| Change::Upsert { object, origin: None };
        claims.set(&object(), FileId(file), says, upsert, &mut changes);
        changes
    }

    fn means(zone: &str) -> Vec<Says> {
        vec![Says::Means(Box::new(node(zone)))]
    }

    #[test]
    fn the_first_speaks_until_it_goes() {
        let mut claims = Claims::default();
        assert_eq!(zone(&set(&mut claims, 1, means("a"))[0]), Some("a"));
        assert!(set(&mut claims, 2, means("b")).is_empty());
        assert_eq!(claims.duplicates(FileId(2)).count(), 1);
        assert_eq!(claims.duplicates(FileId(1)).count(), 0);
        assert!(set(&mut claims, 1, vec![Says::Nonsense]).is_empty(), "what it last meant goes on");
        assert_eq!(zone(&set(&mut claims, 1, vec![])[0]), Some("b"));
        assert_eq!(claims.duplicates(FileId(2)).count(), 0);
        assert!(matches!(set(&mut claims, 2, vec![])[..], [Change::Remove(_)]));
        assert!(claims.by_object.is_empty() && claims.contested.is_empty());
    }

    #[test]
    fn what_was_never_understood_does_not_speak() {
        let mut claims = Claims::default();
        assert!(set(&mut claims, 1, vec![Says::Nonsense]).is_empty());
        assert_eq!(zone(&set(&mut claims, 2, means("b"))[0]), Some("b"));
        assert!(set(&mut claims, 1, means("a")).is_empty());
        assert_eq!(claims.duplicates(FileId(1)).count(), 1);
    }

    #[test]
    fn one_file_may_contest_itself() {
        let mut claims = Claims::default();
        let both = vec![Says::Means(Box::new(node("a"))), Says::Means(Box::new(node("b")))];
        assert_eq!(set(&mut claims, 1, both).len(), 1);
        assert_eq!(claims.duplicates(FileId(1)).count(), 1);
        assert!(set(&mut claims, 1, vec![Says::Same]).is_empty());
        assert_eq!(claims.duplicates(FileId(1)).count(), 0);
    }

    proptest! {
        /// Whatever files say, in whatever order: the object exists exactly while someone has meant something and still
        /// names it, and it means what one of those last meant.
        #[test]
        fn someone_speaks_while_anyone_can(steps in prop::collection::vec((0u32..4, 0u8..4, 0u8..3), 1..60)) {
            let mut claims = Claims::default();
            let mut meant: HashMap<u32, Option<String>> = HashMap::new();
            let mut exists: Option<String> = None;
            for (file, what, zone_number) in steps {
                let new_zone = format!("{file}-{zone_number}");
                let says = match what {
                    0 => { meant.remove(&file); vec![] }
                    1 => { meant.entry(file).or_default(); vec![Says::Nonsense] }
                    _ => { meant.insert(file, Some(new_zone.clone())); means(&new_zone) }
                };
                for change in set(&mut claims, file, says) {
                    exists = zone(&change).map(str::to_owned);
                }
                let candidates: Vec<_> = meant.values().flatten().collect();
                match &exists {
                    Some(zone) => prop_assert!(candidates.contains(&zone)),
                    None => prop_assert!(candidates.is_empty()),
                }
                let duplicates: usize = (0..4).map(|file| claims.duplicates(FileId(file)).count()).sum();
                prop_assert_eq!(duplicates, meant.len().saturating_sub(1));
            }
        }
    }
}
