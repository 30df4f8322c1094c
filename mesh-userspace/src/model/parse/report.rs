//! The findings of one object while it is parsed.

use super::Parsed;
use crate::model::{Finding, ObjectRef, Severity};
use std::sync::Arc;

/// Collects findings, so that an object's errors are all reported at once.
pub(super) struct Report {
    object: ObjectRef,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(object: ObjectRef) -> Self {
        Self { object, findings: Vec::new() }
    }

    /// The field is wrong: the object means nothing.
    pub(super) fn reject(
        &mut self,
        field: impl Into<Arc<str>>,
        message: impl Into<Arc<str>>,
        action: impl Into<Arc<str>>,
    ) {
        self.push(Severity::Rejected, field.into(), message.into(), action.into());
    }

    /// The field asks for what mesh does not serve: the rest of the object is served.
    pub(super) fn unsupported(
        &mut self,
        field: impl Into<Arc<str>>,
        message: impl Into<Arc<str>>,
        action: impl Into<Arc<str>>,
    ) {
        self.push(Severity::Unsupported, field.into(), message.into(), action.into());
    }

    /// The object waits for something else.
    pub(super) fn unresolved(
        &mut self,
        field: impl Into<Arc<str>>,
        message: impl Into<Arc<str>>,
        action: impl Into<Arc<str>>,
    ) {
        self.push(Severity::Unresolved, field.into(), message.into(), action.into());
    }

    fn push(&mut self, severity: Severity, field: Arc<str>, message: Arc<str>, action: Arc<str>) {
        self.findings.push(Finding {
            severity,
            origin: None,
            object: Some(self.object.clone()),
            field,
            message,
            action,
        });
    }

    /// The object, unless something in it was rejected.
    pub(super) fn finish<T>(self, object: T) -> Result<Parsed<T>, Vec<Finding>> {
        if self.findings.iter().any(|finding| finding.severity == Severity::Rejected) {
            Err(self.findings)
        } else {
            Ok(Parsed { object, findings: self.findings })
        }
    }
}
