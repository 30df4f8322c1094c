//! What is wrong with an object, in words that tell what to do.

use super::{ObjectRef, Origin};
use std::fmt;
use std::sync::Arc;

/// How much of the object is affected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The object is not understood; what it last meant goes on.
    Rejected,
    /// The object, or a part of it, loses against an older one.
    Conflict,
    /// There is no room for it, or for a part of it, in a table of the kernel.
    Refused,
    /// The object waits for something that does not exist; it takes effect when that appears.
    Unresolved,
    /// A setting that mesh does not serve; the rest of the object is served.
    Unsupported,
}

impl Severity {
    /// The stable name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unresolved => "unresolved",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One thing wrong: file, object, field, what, and what to do.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// How much is affected.
    pub severity: Severity,
    /// The file and document; `None` when the object did not come from a file.
    pub origin: Option<Origin>,
    /// The object, when its kind and name could be read.
    pub object: Option<ObjectRef>,
    /// The field's path, as `spec.ports[0].port`; empty when it is the object as a whole.
    pub field: Arc<str>,
    /// What is wrong.
    pub message: Arc<str>,
    /// What to do about it.
    pub action: Arc<str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.message, self.action)
    }
}
