//! Where cluster state comes from: objects, parsed once, as a stream of changes.
//!
//! To add a source: a file here that parses with [`crate::model::parse::Parser`] and sends batches of [`Change`], and
//! its arm on the command line.

pub mod manifests;

use crate::model::{Finding, Object, ObjectRef, Origin};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that changed in a source.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The object exists and means this.
    Upsert {
        /// The object.
        object: Object,
        /// Where it was read.
        origin: Origin,
    },
    /// The object is gone.
    Remove(ObjectRef),
    /// All that is wrong in one file; replaces what was said of it before.
    Findings {
        /// The file.
        file: Arc<str>,
        /// What is wrong in it; empty when all is right.
        findings: Vec<Finding>,
    },
    /// What was read; replaces what was counted before.
    Counted(Counts),
    /// Everything that the source held when it was started has been sent.
    Synced,
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
