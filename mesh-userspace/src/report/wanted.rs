//! What the cluster should be told of each object: conditions on it, and Events about it. Pure.

use super::{FIELD_MANAGER, Report};
use crate::crd::ACCEPTED;
use crate::model::{Finding, Kind, ObjectRef, Severity};
use std::collections::{BTreeMap, BTreeSet};

/// Longest message of a condition, in bytes (Kubernetes' own limit).
const LONGEST_MESSAGE: usize = 32_768;

/// Longest note of an Event, in bytes (Kubernetes' own limit).
const LONGEST_NOTE: usize = 1_024;

/// All that should be said of one object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The generation that the conditions speak of; `None` where it is not known, or the kind has none.
    pub generation: Option<i64>,
    /// The conditions, in the order of their types.
    pub conditions: Vec<Said>,
    /// The Events.
    pub events: BTreeSet<Note>,
}

/// A condition, without its time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Said {
    /// The condition's type.
    pub type_: String,
    /// Whether it is true.
    pub status: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// An Event, without its time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Note {
    /// Its name, the same whichever agent writes it.
    pub name: String,
    /// Why, in one word.
    pub reason: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
}

/// What to tell, object by object.
pub fn wanted(report: &Report) -> BTreeMap<ObjectRef, Wanted> {
    let mut by_object = BTreeMap::<&ObjectRef, Vec<&Finding>>::new();
    for policy in report.policies.keys() {
        by_object.entry(policy).or_default();
    }
    for finding in &report.findings {
        if let Some(object) = &finding.object {
            by_object.entry(object).or_default().push(finding);
        }
    }
    let tell = |(object, findings): (&ObjectRef, Vec<&Finding>)| {
        // What was read of a rejected object is its former form.
        let rejected = findings.iter().any(|finding| finding.severity == Severity::Rejected);
        let generation = report.policies.get(object).copied().flatten();
        let wanted = Wanted {
            generation: generation.filter(|_| !rejected),
            conditions: conditions(object.kind, &findings),
            events: findings.iter().map(|finding| note(object, finding)).collect(),
        };
        (object.clone(), wanted)
    };
    by_object.into_iter().map(tell).collect()
}

/// Whether objects of this kind have conditions that are ours to set.
pub const fn has_conditions(kind: Kind) -> bool {
    matches!(kind, Kind::Service | Kind::TrafficPolicy | Kind::DestinationRule)
}

/// The type of a condition as an object of this kind has it: on kinds that are not ours, under our name.
fn type_of(kind: Kind, name: &str) -> String {
    if kind == Kind::TrafficPolicy { name.to_owned() } else { format!("{FIELD_MANAGER}/{name}") }
}

fn conditions(kind: Kind, findings: &[&Finding]) -> Vec<Said> {
    if !has_conditions(kind) {
        return Vec::new();
    }
    let (unsupported, refused): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.severity == Severity::Unsupported);
    let mut said = Vec::new();
    if let Some(worst) = refused.iter().map(|finding| finding.severity).min() {
        said.push(condition(type_of(kind, ACCEPTED), false, reason(worst), &refused));
    } else if kind != Kind::Service {
        said.push(Said {
            type_: type_of(kind, ACCEPTED),
            status: true,
            reason: ACCEPTED.to_owned(),
            message: "in force on every Service that it names".to_owned(),
        });
    }
    if !unsupported.is_empty() {
        said.push(condition(type_of(kind, "Unsupported"), true, reason(Severity::Unsupported), &unsupported));
    }
    said
}

fn condition(type_: String, status: bool, reason: &str, findings: &[&Finding]) -> Said {
    let mut words: Vec<String> = findings.iter().map(|finding| sentence(finding)).collect();
    words.sort();
    Said { type_, status, reason: reason.to_owned(), message: cut(words.join("\n"), LONGEST_MESSAGE) }
}

/// One word for people and their programs; where Gateway API has one, that one.
const fn reason(severity: Severity) -> &'static str {
    match severity {
        Severity::Rejected => "Invalid",
        Severity::Conflict => "Conflicted",
        Severity::Refused => "NoRoom",
        Severity::Unresolved => "TargetNotFound",
        Severity::Unsupported => "NotServed",
    }
}

fn sentence(finding: &Finding) -> String {
    let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
    format!("{field}{}; {}", finding.message, finding.action)
}

fn note(object: &ObjectRef, finding: &Finding) -> Note {
    let text = cut(sentence(finding), LONGEST_NOTE);
    let digest = fnv1a(&format!("{object} {} {text}", finding.severity.name()));
    let name = format!("{}.{digest:016x}", object.name.get(..200).unwrap_or(&object.name));
    Note { name, reason: reason(finding.severity), text }
}

/// The same number for the same text in every release, as `std`'s hashes are not.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest - '…'.len_utf8()).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
