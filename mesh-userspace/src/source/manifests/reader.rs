//! What a file's text changes, compared with what the file said before.

use super::claims::{Claims, Duplicate, FileId, Place, Says};
use super::document::{self, Format};
use super::split::{self, Document};
use crate::model::parse::Parser;
use crate::model::{Finding, ObjectRef, Origin, Severity};
use crate::source::object::Item;
use crate::source::{Change, Counts, Subject};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::Arc;

/// What one document held when it was last read.
#[derive(Debug)]
struct Known {
    number: u32,
    hash: u64,
    /// The objects that it names.
    named: Vec<ObjectRef>,
    passed_over: Vec<Arc<str>>,
    findings: Vec<Finding>,
    /// Whether something in it could not even be named.
    nameless: bool,
}

#[derive(Debug)]
struct File {
    name: Arc<str>,
    format: Format,
    documents: Vec<Known>,
    /// Objects that the file named before some of it could not be read: they go on until it can be.
    held: Vec<ObjectRef>,
    /// Why the file cannot be read at all.
    unreadable: Option<Finding>,
    /// What was last reported.
    reported: Vec<Finding>,
}

/// Everything that the files say.
#[derive(Debug, Default)]
pub(super) struct Reader {
    parser: Parser,
    files: HashMap<FileId, File>,
    next_id: u32,
    claims: Claims,
    counts: Counts,
    changes: Vec<Change>,
}

impl Reader {
    /// Makes a file known; it says nothing yet. `name` is what findings call it.
    pub(super) fn add(&mut self, name: Arc<str>, format: Format) -> FileId {
        let id = FileId(self.next_id);
        self.next_id += 1;
        let file =
            File { name, format, documents: Vec::new(), held: Vec::new(), unreadable: None, reported: Vec::new() };
        self.files.insert(id, file);
        self.counts.files += 1;
        id
    }

    /// The file has another name now. What it says must be given again, so that origins follow.
    pub(super) fn rename(&mut self, id: FileId, name: Arc<str>, format: Format) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if !file.reported.is_empty() {
            self.changes.push(Change::Findings { subject: Subject::File(file.name.clone()), findings: Vec::new() });
        }
        file.reported.clear();
        (file.name, file.format) = (name, format);
        for document in &mut file.documents {
            document.hash = !document.hash;
        }
    }

    /// The file is gone, and with it what only it said.
    pub(super) fn remove(&mut self, id: FileId) {
        self.update(id, Vec::new(), |_, _| Vec::new());
        if let Some(file) = self.files.remove(&id) {
            self.counts.files -= 1;
            if !file.reported.is_empty() {
                self.changes.push(Change::Findings { subject: Subject::File(file.name), findings: Vec::new() });
            }
        }
    }

    /// The file cannot be read: what it last said goes on.
    pub(super) fn unreadable(&mut self, id: FileId, message: &str) {
        let Some(file) = self.files.get_mut(&id) else { return };
        file.unreadable = Some(Finding {
            severity: Severity::Rejected,
            origin: Some(Origin { file: file.name.clone(), document: 0 }),
            object: None,
            field: Arc::default(),
            message: format!("it cannot be read: {message}").into(),
            action: "make it readable as UTF-8; until then what it last said is in force".into(),
        });
        self.report(id);
    }

    /// The file says this now.
    pub(super) fn read(&mut self, id: FileId, text: &str) {
        let Some(file) = self.files.get_mut(&id) else { return };
        file.unreadable = None;
        let format = file.format;
        let documents = match format {
            Format::Yaml => split::yaml(text),
            Format::Json => split::json(text),
        };
        self.update(id, documents, |parser, document| document::read(parser, format, document));
    }

    fn update(
        &mut self,
        id: FileId,
        documents: Vec<Document<'_>>,
        mut read: impl FnMut(&mut Parser, Document<'_>) -> Vec<Item>,
    ) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let name = file.name.clone();
        let mut before = mem::take(&mut file.documents).into_iter().peekable();
        let mut named_before: BTreeSet<ObjectRef> = mem::take(&mut file.held).into_iter().collect();
        // In the order of the documents, so that the first one that names an object speaks.
        let mut says = HashMap::<ObjectRef, Vec<(Place, Says)>>::new();
        let mut order = Vec::new();
        let mut say = |object: &ObjectRef, document, what| {
            let all = says.entry(object.clone()).or_insert_with(|| {
                order.push(object.clone());
                Vec::new()
            });
            all.push((Place { file: id, document }, what));
        };

        let mut now = Vec::with_capacity(documents.len());
        for document in documents {
            let hash = hash(document.text);
            let old = before.next_if(|old| old.number == document.number);
            if let Some(old) = old {
                if old.hash == hash {
                    for object in &old.named {
                        say(object, document.number, Says::Same);
                    }
                    now.push(old);
                    continue;
                }
                forget(&mut self.counts, &old);
                named_before.extend(old.named);
            }
            let items = read(&mut self.parser, document);
            let known = known(&name, document.number, hash, items, &mut say);
            count(&mut self.counts, &known);
            now.push(known);
        }
        for old in before {
            forget(&mut self.counts, &old);
            named_before.extend(old.named);
        }

        let nameless = now.iter().any(|known| known.nameless);
        named_before.retain(|object| !says.contains_key(object));
        let mut touched = BTreeSet::new();
        for object in order {
            let said = says.remove(&object).unwrap_or_default();
            touched.extend(self.claim(&object, id, said));
        }
        let mut held = Vec::new();
        for object in named_before {
            if nameless {
                held.push(object);
            } else {
                touched.extend(self.claim(&object, id, Vec::new()));
            }
        }
        if let Some(file) = self.files.get_mut(&id) {
            now.shrink_to_fit();
            (file.documents, file.held) = (now, held);
        }
        touched.insert(id);
        for id in touched {
            self.report(id);
        }
    }

    fn claim(&mut self, object: &ObjectRef, id: FileId, says: Vec<(Place, Says)>) -> Vec<FileId> {
        let files = &self.files;
        let upsert = |object, place: Place| {
            let file = files.get(&place.file).map(|file| file.name.clone()).unwrap_or_default();
            Change::Upsert { object, origin: Some(Origin { file, document: place.document }) }
        };
        self.claims.set(object, id, says, upsert, &mut self.changes)
    }

    /// Reports what is wrong with a file, if that changed.
    fn report(&mut self, id: FileId) {
        let Some(file) = self.files.get(&id) else { return };
        let mut findings: Vec<Finding> = file.unreadable.iter().cloned().collect();
        findings.extend(file.documents.iter().flat_map(|document| document.findings.iter().cloned()));
        findings.extend(self.claims.duplicates(id).map(|duplicate| self.duplicate(&duplicate)));
        if findings != file.reported {
            let change = Change::Findings { subject: Subject::File(file.name.clone()), findings: findings.clone() };
            self.changes.push(change);
            if let Some(file) = self.files.get_mut(&id) {
                file.reported = findings;
            }
        }
    }

    fn duplicate(&self, duplicate: &Duplicate<'_>) -> Finding {
        let origin = |place: Place| Origin {
            file: self.files.get(&place.file).map(|file| file.name.clone()).unwrap_or_default(),
            document: place.document,
        };
        Finding {
            severity: Severity::Conflict,
            origin: Some(origin(duplicate.place)),
            object: Some(duplicate.object.clone()),
            field: "metadata.name".into(),
            message: format!("{} was there first, in {}", duplicate.object, origin(duplicate.first)).into(),
            action: "remove or rename one of the two; this one takes over when the other goes".into(),
        }
    }

    /// How much the files hold.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Adds a change that is not about a file.
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// How many changes wait to be taken.
    pub(super) fn pending(&self) -> usize {
        self.changes.len()
    }

    /// What has changed since it was last asked.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }
}

fn known(
    file: &Arc<str>,
    number: u32,
    hash: u64,
    items: Vec<Item>,
    say: &mut impl FnMut(&ObjectRef, u32, Says),
) -> Known {
    let mut known =
        Known { number, hash, named: Vec::new(), passed_over: Vec::new(), findings: Vec::new(), nameless: false };
    for item in items {
        match item {
            Item::Understood(object, findings) => {
                let named = object.object_ref();
                say(&named, number, Says::Means(Box::new(object)));
                known.named.push(named);
                known.findings.extend(findings);
            }
            Item::Rejected(Some(named), findings) => {
                say(&named, number, Says::Nonsense);
                known.named.push(named);
                known.findings.extend(findings);
            }
            Item::Rejected(None, findings) => {
                known.nameless = true;
                known.findings.extend(findings);
            }
            Item::PassedOver(kind) => known.passed_over.push(kind),
        }
    }
    for finding in &mut known.findings {
        finding.origin = Some(Origin { file: file.clone(), document: number });
    }
    known.named.shrink_to_fit();
    known
}

fn count(counts: &mut Counts, known: &Known) {
    counts.documents += documents(known);
    for kind in &known.passed_over {
        *counts.passed_over.entry(kind.clone()).or_default() += 1;
    }
}

fn forget(counts: &mut Counts, known: &Known) {
    counts.documents -= documents(known);
    for kind in &known.passed_over {
        if let Some(number) = counts.passed_over.get_mut(kind) {
            *number -= 1;
        }
    }
    counts.passed_over.retain(|_, number| *number > 0);
}

fn documents(known: &Known) -> u64 {
    known.named.len() as u64 + known.passed_over.len() as u64 + u64::from(known.nameless)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
