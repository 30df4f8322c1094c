//! What is wrong with an object.

use crate::model;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One element of `GET /v1/findings`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `rejected`, `conflict`, `unresolved` or `unsupported`.
    pub severity: String,
    /// The file, relative to the manifest directory; absent when the object did not come from one.
    pub file: Option<String>,
    /// The document's number in the file, from 1.
    pub document: Option<u32>,
    /// The object; absent when its kind or name could not be read.
    pub object: Option<ObjectName>,
    /// The field's path; empty when it is the object as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

/// An object by kind, namespace and name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// The kind.
    pub kind: String,
    /// The namespace; empty for kinds that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl From<&model::ObjectRef> for ObjectName {
    fn from(object: &model::ObjectRef) -> Self {
        Self { kind: object.kind.to_string(), namespace: object.namespace.to_string(), name: object.name.to_string() }
    }
}

impl From<&model::Finding> for Finding {
    fn from(finding: &model::Finding) -> Self {
        Self {
            severity: finding.severity.name().to_owned(),
            file: finding.origin.as_ref().map(|origin| origin.file.to_string()),
            document: finding.origin.as_ref().map(|origin| origin.document),
            object: finding.object.as_ref().map(ObjectName::from),
            field: finding.field.to_string(),
            message: finding.message.to_string(),
            action: finding.action.to_string(),
        }
    }
}
