//! Where cluster state comes from: objects, parsed once, as a stream of changes.
//!
//! To add a source: a file here that parses with [`crate::model::parse::Parser`] and sends batches of [`Change`], and
//! its arm on the command line.

pub mod kubernetes;
pub mod manifests;
mod object;

use crate::model::{Finding, Object, ObjectRef, Origin};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that changed in a source.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The object exists and means this.
    Upsert {
        /// The object.
        object: Object,
        /// Where it was read; `None` when it came from the API server.
        origin: Option<Origin>,
    },
    /// The object is gone.
    Remove(ObjectRef),
    /// All that is wrong with one file or object; replaces what was said of it before.
    Findings {
        /// What it is about.
        subject: Subject,
        /// What is wrong with it; empty when all is right.
        findings: Vec<Finding>,
    },
    /// What was read; replaces what was counted before.
    Counted(Counts),
    /// Why the source does not follow changes at present; replaces what was said before, and is empty when it follows.
    Troubles(Vec<Trouble>),
    /// Everything that the source held when it was started has been sent.
    Synced,
}

/// What findings are about, so that new ones take the place of old ones.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// A manifest file, or the directory, by its path.
    File(Arc<str>),
    /// An object of the API server.
    Object(ObjectRef),
}

/// Why a source does not follow changes; what it said before goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What is not followed: a kind.
    pub what: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// The error, in words.
    pub message: Arc<str>,
}

/// How much a source has read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Manifest files.
    pub files: u64,
    /// Documents in them, each item of a list by itself.
    pub documents: u64,
    /// Documents of kinds that mesh does not read, by kind as `Deployment.apps`.
    pub passed_over: BTreeMap<Arc<str>, u64>,
}
