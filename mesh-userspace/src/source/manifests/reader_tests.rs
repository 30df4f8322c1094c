//! What a file's text changes: only what differs, and nothing is lost by a mistake.

use super::*;
use crate::model::{Locality, Node, Object};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A reader with what its changes make of the cluster.
#[derive(Default)]
struct World {
    reader: Reader,
    files: BTreeMap<&'static str, FileId>,
    zones: BTreeMap<String, String>,
    findings: BTreeMap<Arc<str>, Vec<Finding>>,
}

impl World {
    /// Writes a file; gives what that changed, as `+a=zone` and `-a`.
    fn write(&mut self, file: &'static str, text: &str) -> Vec<String> {
        let format = if file.ends_with("json") { Format::Json } else { Format::Yaml };
        let id = *self.files.entry(file).or_insert_with(|| self.reader.add(file.into(), format));
        self.reader.read(id, text);
        self.take()
    }

    fn remove(&mut self, file: &'static str) -> Vec<String> {
        let id = self.files.remove(file).unwrap();
        self.reader.remove(id);
        self.take()
    }

    fn take(&mut self) -> Vec<String> {
        let mut shown = Vec::new();
        for change in self.reader.take_changes() {
            match change {
                Change::Upsert { object: Object::Node(Node { name, locality: Locality { zone, .. }, .. }), .. } => {
                    shown.push(format!("+{name}={zone}"));
                    self.zones.insert(name.to_string(), zone.to_string());
                }
                Change::Remove(object) => {
                    shown.push(format!("-{}", object.name));
                    assert!(self.zones.remove(&*object.name).is_some(), "{object} was not there");
                }
                Change::Findings { subject: Subject::File(file), findings } => {
                    drop(self.findings.insert(file, findings));
                }
                other => panic!("{other:?}"),
            }
        }
        shown
    }

    fn findings(&self, file: &str) -> Vec<String> {
        self.findings.get(file).into_iter().flatten().map(ToString::to_string).collect()
    }
}

fn node(name: &str, zone: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: {zone}}}}}\n"
    )
}

const BROKEN: &str = "---\nkind: [\n";

#[test]
fn only_documents_that_changed_are_given() {
    let mut world = World::default();
    let [a, b, c] = [node("a", "z1"), node("b", "z1"), node("c", "z1")];
    assert_eq!(world.write("f.yaml", &[&*a, &b, &c].concat()), ["+a=z1", "+b=z1", "+c=z1"]);
    assert!(world.write("f.yaml", &[&*a, &b, &c].concat()).is_empty());
    assert_eq!(world.write("f.yaml", &[&*a, &node("b", "z2"), &c].concat()), ["+b=z2"]);
    assert_eq!(world.write("f.yaml", &[&*a, &node("b", "z2")].concat()), ["-c"]);
    assert_eq!(world.write("f.yaml", ""), ["-a", "-b"]);
    assert_eq!(world.reader.counts().documents, 0);
}

#[test]
fn a_broken_document_keeps_what_it_said_and_takes_no_other_along() {
    let mut world = World::default();
    world.write("f.yaml", &[node("a", "z1"), node("b", "z1")].concat());
    assert_eq!(world.write("f.yaml", &[node("a", "z2"), BROKEN.to_owned()].concat()), ["+a=z2"]);
    let findings = world.findings("f.yaml");
    assert!(
        findings.len() == 1 && findings[0].starts_with("f.yaml (document 2): ") && findings[0].contains("line 6,"),
        "{findings:?}"
    );
    assert_eq!(world.zones["b"], "z1");
    assert!(world.write("f.yaml", BROKEN).is_empty(), "nobody knows what the broken document was");
    assert_eq!(world.write("f.yaml", &node("b", "z3")), ["+b=z3", "-a"]);
    assert!(world.findings("f.yaml").is_empty());
}

#[test]
fn an_object_that_is_wrong_goes_on_until_it_is_right_or_removed() {
    let mut world = World::default();
    let wrong = "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: 3}\n";
    world.write("f.yaml", &node("a", "z1"));
    assert!(world.write("f.yaml", wrong).is_empty());
    assert!(world.findings("f.yaml")[0].starts_with("f.yaml (document 1): Node a: metadata.labels: "));
    assert_eq!(world.write("f.yaml", &node("a", "z2")), ["+a=z2"]);
    world.write("f.yaml", wrong);
    assert_eq!(world.remove("f.yaml"), ["-a"]);
    assert!(world.findings("f.yaml").is_empty());
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_it_said() {
    let mut world = World::default();
    world.write("f.yaml", &node("a", "z1"));
    world.reader.unreadable(world.files["f.yaml"], "Permission denied");
    assert!(world.take().is_empty());
    assert!(world.findings("f.yaml")[0].contains("Permission denied"));
    assert!(world.write("f.yaml", &node("a", "z1")).is_empty());
    assert!(world.findings("f.yaml").is_empty());
}

#[test]
fn of_two_that_name_one_object_the_first_stays() {
    let mut world = World::default();
    world.write("f.yaml", &node("a", "z1"));
    assert!(world.write("g.json", r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}}"#).is_empty());
    let findings = world.findings("g.json");
    assert!(findings[0].contains("Node a was there first, in f.yaml (document 1)"), "{findings:?}");
    assert_eq!(world.write("f.yaml", &node("a", "z2")), ["+a=z2"]);
    assert_eq!(world.remove("f.yaml"), ["+a="]);
    assert!(world.findings("g.json").is_empty());
}

#[test]
fn one_file_may_name_an_object_twice() {
    let mut world = World::default();
    let [first, second] = [node("a", "z1"), node("a", "z2")];
    assert_eq!(world.write("f.yaml", &[&*first, &second].concat()), ["+a=z1"]);
    assert_eq!(world.findings("f.yaml").len(), 1);
    assert_eq!(world.write("f.yaml", &[&*node("b", "z1"), &second].concat()), ["+b=z1", "+a=z2"]);
    assert!(world.findings("f.yaml").is_empty());
    let moved = [&*node("b", "z1"), &node("c", "z1"), &second].concat();
    assert_eq!(world.write("f.yaml", &moved), ["+c=z1", "+a=z2"], "its place is another, and no gap");
}

#[test]
fn other_kinds_are_counted() {
    let mut world = World::default();
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\n";
    world.write("f.yaml", &[&node("a", "z1"), deployment, deployment].concat());
    let counts = world.reader.counts().clone();
    assert_eq!((counts.files, counts.documents, counts.passed_over["Deployment.apps"]), (1, 3, 2));
    world.write("f.yaml", deployment);
    assert_eq!(world.reader.counts().passed_over["Deployment.apps"], 1);
    world.remove("f.yaml");
    assert_eq!(*world.reader.counts(), Counts::default());
}

/// A document: a node of one of three names with one of two zones, one that is wrong, or nonsense.
fn any_document() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let good = (name.clone(), prop::sample::select(vec!["z1", "z2"])).prop_map(|(name, zone)| node(name, zone));
    let wrong = name.prop_map(|name| node(name, "[]"));
    prop_oneof![4 => good, 1 => wrong, 1 => Just(BROKEN.to_owned())]
}

proptest! {
    /// Whatever was written on the way: once every file is right again, exactly what the files say is there, and what is
    /// said once has the meaning that is written.
    #[test]
    fn mistakes_leave_nothing_behind(
        steps in prop::collection::vec((prop::sample::select(vec!["f", "g", "h"]),
            prop::option::weighted(0.9, prop::collection::vec(any_document(), 0..4))), 1..30),
    ) {
        let mut world = World::default();
        let mut texts = BTreeMap::<&str, Vec<String>>::new();
        for (file, documents) in steps {
            match documents {
                Some(documents) => { world.write(file, &documents.concat()); texts.insert(file, documents); }
                None if texts.remove(file).is_some() => { world.remove(file); }
                None => {}
            }
        }
        for (file, documents) in &mut texts {
            documents.retain(|document| document != BROKEN && !document.contains("[]"));
            world.write(file, &documents.concat());
        }
        let mut written = BTreeMap::<String, Vec<String>>::new();
        for text in texts.values().flatten() {
            let (name, zone) = (text.split("name: ").nth(1).unwrap(), text.split("zone: ").nth(1).unwrap());
            written.entry(name[..1].to_owned()).or_default().push(zone[..2].to_owned());
        }
        prop_assert_eq!(world.zones.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
        let mut duplicates = 0;
        for (name, zones) in &written {
            prop_assert!(zones.contains(&world.zones[name]), "{name}: {zones:?} {}", world.zones[name]);
            duplicates += zones.len() - 1;
        }
        prop_assert_eq!(world.findings.values().map(Vec::len).sum::<usize>(), duplicates);
        for file in texts.keys() {
            world.remove(file);
        }
        prop_assert!(world.zones.is_empty());
        prop_assert_eq!(world.reader.counts(), &Counts::default());
    }
}
